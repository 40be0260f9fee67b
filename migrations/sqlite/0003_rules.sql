-- The rules' own nouns: rule sets with all their versions, special days, what bars a call, what was agreed with whom, and
-- calls that others made. Conventions as in 0001 and 0002.

-- Every rule set that ever decided, by the hash that receipts name. Never changed, never deleted.
CREATE TABLE rule_sets (
    sha256        TEXT    PRIMARY KEY,   -- SHA-256 in hexadecimal of the canonical text
    name          TEXT    NOT NULL,      -- name in the file, or of what was merged
    revision      TEXT    NOT NULL,      -- revision in the file
    body          TEXT    NOT NULL,      -- canonical text: JSON
    first_at_ms   INTEGER NOT NULL       -- when it was first loaded
) STRICT;

-- Which rule set was in force for which client from when on: the newest row counts.
CREATE TABLE rules_in_force (
    id            INTEGER PRIMARY KEY,   -- order of coming into force
    client_id     INTEGER REFERENCES clients(id), -- the client; NULL: every client without a row of its own
    sha256        TEXT    NOT NULL REFERENCES rule_sets(sha256), -- the rules, merged with the preset
    from_ms       INTEGER NOT NULL,      -- since when
    source        TEXT    NOT NULL,      -- the files it came from
    actor         TEXT    NOT NULL       -- who loaded it
) STRICT;

-- Public holidays and other days with hours of their own, by region. Imported; a later import of a year replaces it.
CREATE TABLE special_days (
    id            INTEGER PRIMARY KEY,   -- our id
    region        TEXT    NOT NULL,      -- two letters of the country, or country and subdivision as in ISO 3166-2
    on_date       TEXT    NOT NULL,      -- the day
    name          TEXT    NOT NULL,      -- its name
    hours         TEXT    NOT NULL,      -- JSON list of 'HH:MM-HH:MM'; [] for no calls
    import_id     INTEGER REFERENCES imports(id), -- the file that brought it
    UNIQUE (region, on_date)
) STRICT;

-- What must not be called (禁呼): by number, person, case, client, or everything. Rows are lifted, never deleted.
CREATE TABLE bars (
    id            INTEGER PRIMARY KEY,   -- our id
    scope         TEXT    NOT NULL CHECK (scope IN ('number', 'person', 'case', 'client', 'everything')), -- what is barred
    subject_id    INTEGER NOT NULL,      -- id of the number, person, case or client; 0 for everything
    client_id     INTEGER REFERENCES clients(id), -- if it holds for this client's cases only; NULL: for all
    kind          TEXT    NOT NULL CHECK (kind IN ('do_not_call', 'complaint', 'deceased', 'suspected_fraud')), -- why, as the rules see it
    reason        TEXT    NOT NULL,      -- why, in words
    from_ms       INTEGER NOT NULL,      -- since
    until_ms      INTEGER,               -- until; NULL: until lifted
    actor         TEXT    NOT NULL,      -- who barred it
    lifted_at_ms  INTEGER,               -- when it was lifted
    lifted_by     TEXT                   -- by whom
) STRICT;
CREATE INDEX bars_subject ON bars (scope, subject_id) WHERE lifted_at_ms IS NULL;
INSERT INTO bars (scope, subject_id, kind, reason, from_ms, actor)
    SELECT 'number', id, 'do_not_call', COALESCE(reason, 'barred'), changed_at_ms, 'system' FROM numbers WHERE state = 'barred';
-- From here on bars alone say what must not be called.
UPDATE numbers SET state = 'usable', reason = NULL WHERE state = 'barred';

-- Agreements (约定): a customer or third party agreed to be called outside the usual hours.
CREATE TABLE agreements (
    id             INTEGER PRIMARY KEY,  -- our id
    client_id      INTEGER NOT NULL REFERENCES clients(id), -- for whose cases
    case_id        INTEGER NOT NULL REFERENCES cases(id), -- for which case
    contact_id     INTEGER NOT NULL REFERENCES contacts(id), -- who agreed
    hours          TEXT    NOT NULL,     -- JSON: the hours of each weekday, local to the person, as in a rule file
    from_ms        INTEGER NOT NULL,     -- since
    until_ms       INTEGER NOT NULL,     -- until; it expires by itself
    uses_most      INTEGER,              -- so many calls at most; NULL: as many as the caps allow
    proof          TEXT    NOT NULL CHECK (proof IN ('recording', 'letter')), -- what proves it
    recording_id   TEXT    REFERENCES recordings(id), -- the recording in which it was said
    offset_ms      INTEGER,              -- where in the recording
    letter_sha256  TEXT,                 -- SHA-256 of the letter
    letter_box     TEXT,                 -- the letter, encrypted (base64)
    letter_name    TEXT,                 -- name of its file
    state          TEXT    NOT NULL CHECK (state IN ('waiting', 'active', 'refused', 'revoked')), -- waiting: for a second person
    proposed_by    TEXT    NOT NULL,     -- who entered it
    proposed_at_ms INTEGER NOT NULL,     -- when
    approved_by    TEXT,                 -- who approved it, where the client asks for two persons; never the proposer
    approved_at_ms INTEGER,              -- when
    ended_by       TEXT,                 -- who refused or revoked it
    ended_at_ms    INTEGER,              -- when
    ended_reason   TEXT,                 -- why
    CHECK ((proof = 'recording') = (recording_id IS NOT NULL AND offset_ms IS NOT NULL)),
    CHECK ((proof = 'letter') = (letter_sha256 IS NOT NULL AND letter_box IS NOT NULL))
) STRICT;
CREATE INDEX agreements_case ON agreements (case_id);

-- The numbers an agreement is for.
CREATE TABLE agreement_numbers (
    agreement_id   INTEGER NOT NULL REFERENCES agreements(id), -- the agreement
    number_id      INTEGER NOT NULL REFERENCES numbers(id), -- a number
    PRIMARY KEY (agreement_id, number_id)
) STRICT, WITHOUT ROWID;

-- Which decisions an agreement allowed.
CREATE TABLE agreement_uses (
    receipt_id     TEXT    PRIMARY KEY REFERENCES receipts(id), -- the decision
    agreement_id   INTEGER NOT NULL REFERENCES agreements(id) -- the agreement without which it would have been a refusal
) STRICT;
CREATE INDEX agreement_uses_agreement ON agreement_uses (agreement_id);

-- Calls that the client's other agencies made, imported, added to ours in every cap.
CREATE TABLE outside_counts (
    id             INTEGER PRIMARY KEY,  -- our id
    client_id      INTEGER NOT NULL REFERENCES clients(id), -- who told us
    case_id        INTEGER NOT NULL REFERENCES cases(id), -- about which case
    number_id      INTEGER REFERENCES numbers(id), -- at which number, if told
    on_date        TEXT    NOT NULL,     -- local day of the calls
    day_began_ms   INTEGER NOT NULL,     -- when that day began where the person called is
    day_ended_ms   INTEGER NOT NULL,     -- and when it ended: counted as late as they may have been
    attempts       INTEGER NOT NULL,     -- calls made
    connected      INTEGER NOT NULL,     -- of these, answered
    source         TEXT    NOT NULL,     -- which agency, as the client calls it
    import_id      INTEGER REFERENCES imports(id) -- the file that brought it
) STRICT;
CREATE UNIQUE INDEX outside_counts_once ON outside_counts (case_id, on_date, source, COALESCE(number_id, 0));
CREATE INDEX outside_counts_number ON outside_counts (number_id) WHERE number_id IS NOT NULL;

-- What is under way counts against every cap, whenever it began: found without reading what is long over.
CREATE INDEX attempts_open_number ON attempts (number_id) WHERE ended_at_ms IS NULL;
CREATE INDEX attempts_open_debtor ON attempts (debtor_id) WHERE ended_at_ms IS NULL;
CREATE INDEX attempts_open_case ON attempts (case_id) WHERE ended_at_ms IS NULL;
