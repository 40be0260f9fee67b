-- The case side: what the floor must know of a debt to call about it, and what is noted afterwards. Conventions as in
-- 0001. Money is a whole number of ten-thousandths of the currency's unit in a column ending in _e4 (exact, and sums
-- are exact); days without an hour are TEXT 'YYYY-MM-DD' in a column ending in _on.

-- A natural person, merged by identity number across clients and cases, so that caps count whom we call and not under
-- how many files he is kept. A debtor without a known identity number has a person of his own.
CREATE TABLE persons (
    id            INTEGER PRIMARY KEY,   -- our id
    identity_hash TEXT    UNIQUE,        -- keyed hash (HMAC-SHA-256, hexadecimal) of the identity number; NULL if it is not known
    identity_box  TEXT,                  -- the identity number, encrypted (base64); NULL if it is not known
    created_at_ms INTEGER NOT NULL       -- when first imported
) STRICT;

ALTER TABLE debtors ADD COLUMN person_id INTEGER REFERENCES persons(id); -- who that is; set for every debtor
INSERT INTO persons (id, created_at_ms) SELECT id, created_at_ms FROM debtors;
UPDATE debtors SET person_id = id;
CREATE INDEX debtors_person ON debtors (person_id);
ALTER TABLE debtors ADD COLUMN name TEXT NOT NULL DEFAULT ''; -- name of the person who owes, as the client gave it

-- What we agreed with a client for a kind of cases: which rules, how long, for what fee (C16).
CREATE TABLE contracts (
    id            INTEGER PRIMARY KEY,   -- our id
    client_id     INTEGER NOT NULL REFERENCES clients(id), -- the client
    code          TEXT    NOT NULL,      -- its number
    valid_from_on TEXT    NOT NULL,      -- first day
    valid_to_on   TEXT,                  -- last day; NULL: until ended
    created_at_ms INTEGER NOT NULL,      -- when entered
    UNIQUE (client_id, code)
) STRICT;

-- Per overdue bucket: what share of what was placed must come back, and what we are paid for it.
CREATE TABLE contract_tiers (
    contract_id   INTEGER NOT NULL REFERENCES contracts(id), -- the contract
    bucket        TEXT    NOT NULL,      -- 'to_90', 'to_180', 'to_360', 'above_360': days overdue at placement
    base_bp       INTEGER NOT NULL,      -- base recovery rate in hundredths of a per cent; below it the fee is reduced
    minimum_bp    INTEGER NOT NULL,      -- minimum rate; no fee after three months below it
    fee_bp        INTEGER NOT NULL,      -- fee on what came back, in hundredths of a per cent
    PRIMARY KEY (contract_id, bucket)
) STRICT;

-- People who work together under a lead.
CREATE TABLE teams (
    id            INTEGER PRIMARY KEY,   -- our id
    code          TEXT    NOT NULL UNIQUE, -- short name
    name          TEXT    NOT NULL,      -- name shown to people
    created_at_ms INTEGER NOT NULL       -- when entered
) STRICT;

ALTER TABLE agents ADD COLUMN team_id INTEGER REFERENCES teams(id); -- the team; NULL: none yet

ALTER TABLE batches ADD COLUMN contract_id INTEGER REFERENCES contracts(id); -- under which contract; NULL: none on file
ALTER TABLE batches ADD COLUMN case_type TEXT NOT NULL DEFAULT ''; -- kind of the debts, as the client calls it: credit card, consumer loan, …
ALTER TABLE batches ADD COLUMN placed_on TEXT; -- day on which the client placed it
ALTER TABLE batches ADD COLUMN return_on TEXT; -- day on which what is left goes back
ALTER TABLE batches ADD COLUMN revealed_at_ms INTEGER; -- since when its cases are seen and dialled; NULL while an import is at work on a new batch
UPDATE batches SET revealed_at_ms = created_at_ms;

ALTER TABLE cases ADD COLUMN import_id INTEGER; -- the import that brought it; NULL before imports were kept
ALTER TABLE cases ADD COLUMN revealed_at_ms INTEGER; -- since when it is seen and dialled; NULL while its import is at work
UPDATE cases SET revealed_at_ms = created_at_ms;
ALTER TABLE cases ADD COLUMN reason TEXT; -- why it is in its state
ALTER TABLE cases ADD COLUMN paused_until_ms INTEGER; -- a pause ends by itself then; NULL: when somebody ends it
ALTER TABLE cases ADD COLUMN currency TEXT NOT NULL DEFAULT 'CNY'; -- ISO 4217
ALTER TABLE cases ADD COLUMN placed_e4 INTEGER NOT NULL DEFAULT 0; -- amount notified by the client at placement
ALTER TABLE cases ADD COLUMN balance_e4 INTEGER NOT NULL DEFAULT 0; -- amount owed now, by the client's last word, repayments taken off
ALTER TABLE cases ADD COLUMN principal_e4 INTEGER NOT NULL DEFAULT 0; -- of the balance: principal
ALTER TABLE cases ADD COLUMN interest_e4 INTEGER NOT NULL DEFAULT 0; -- of the balance: interest
ALTER TABLE cases ADD COLUMN fees_e4 INTEGER NOT NULL DEFAULT 0; -- of the balance: fees and penalties
ALTER TABLE cases ADD COLUMN repaid_e4 INTEGER NOT NULL DEFAULT 0; -- sum of its repayments
ALTER TABLE cases ADD COLUMN overdue_days INTEGER; -- days overdue at placement
ALTER TABLE cases ADD COLUMN bucket TEXT NOT NULL DEFAULT ''; -- 'to_90', 'to_180', 'to_360', 'above_360'; '' if not known
ALTER TABLE cases ADD COLUMN region TEXT NOT NULL DEFAULT ''; -- where the debtor lives, as the client calls it
ALTER TABLE cases ADD COLUMN card_hash TEXT; -- keyed hash of the card or account number, for exact search
ALTER TABLE cases ADD COLUMN card_box TEXT; -- the card or account number, encrypted (base64)
ALTER TABLE cases ADD COLUMN card_last4 TEXT; -- its last four digits
ALTER TABLE cases ADD COLUMN fields TEXT NOT NULL DEFAULT '{}'; -- JSON: the client's own fields, by the names of its template
ALTER TABLE cases ADD COLUMN mark TEXT NOT NULL DEFAULT ''; -- colour mark set by people; '' for none
ALTER TABLE cases ADD COLUMN team_id INTEGER REFERENCES teams(id); -- the team it is allocated to
ALTER TABLE cases ADD COLUMN agent_id INTEGER REFERENCES agents(id); -- the agent it is allocated to
ALTER TABLE cases ADD COLUMN allocated_at_ms INTEGER; -- when it was allocated to that agent
ALTER TABLE cases ADD COLUMN worked_at_ms INTEGER; -- first time an agent opened, dialled or noted it; must come within 2 hours
ALTER TABLE cases ADD COLUMN called_at_ms INTEGER; -- first attempt; must come within 2 days
ALTER TABLE cases ADD COLUMN followed_at_ms INTEGER; -- last attempt or note
CREATE INDEX cases_card ON cases (card_hash) WHERE card_hash IS NOT NULL;
CREATE INDEX cases_agent ON cases (agent_id, state);
CREATE INDEX cases_import ON cases (import_id);

ALTER TABLE contacts ADD COLUMN identity_hash TEXT; -- keyed hash of the contact's identity number, where the client gave it
ALTER TABLE contact_points ADD COLUMN zone TEXT; -- IANA zone put on record for this person by somebody with the right to; NULL: by the number
ALTER TABLE contact_points ADD COLUMN mark TEXT NOT NULL DEFAULT ''; -- mark set by people; '' for none
CREATE INDEX contacts_case ON contacts (case_id);

-- Postal and e-mail addresses of a contact.
CREATE TABLE addresses (
    id            INTEGER PRIMARY KEY,   -- our id
    contact_id    INTEGER NOT NULL REFERENCES contacts(id), -- whose
    kind          TEXT    NOT NULL,      -- 'home', 'work', 'registered', 'mail', 'other'
    text          TEXT    NOT NULL,      -- as the client wrote it
    created_at_ms INTEGER NOT NULL,      -- when imported
    UNIQUE (contact_id, kind, text)
) STRICT;

-- How a client's file is read or written (data, never code): TOML; versions are kept, the newest counts.
CREATE TABLE templates (
    id            INTEGER PRIMARY KEY,   -- our id
    client_id     INTEGER REFERENCES clients(id), -- whose; NULL: for every client without one of its own
    kind          TEXT    NOT NULL CHECK (kind IN ('cases', 'updates', 'repayments', 'notes')), -- what the file holds
    name          TEXT    NOT NULL,      -- name within client and kind, such as the case type
    version       INTEGER NOT NULL,      -- 1, 2, …
    body          TEXT    NOT NULL,      -- TOML
    created_at_ms INTEGER NOT NULL,      -- when entered
    created_by    TEXT    NOT NULL       -- by whom
) STRICT;
CREATE UNIQUE INDEX templates_name ON templates (COALESCE(client_id, 0), kind, name, version);

-- One file brought in. Rows go in in pieces that nobody sees; one short transaction reveals them.
CREATE TABLE imports (
    id            INTEGER PRIMARY KEY,   -- our id
    client_id     INTEGER NOT NULL REFERENCES clients(id), -- whose file
    template_id   INTEGER REFERENCES templates(id), -- how it was read; NULL: the built-in columns
    kind          TEXT    NOT NULL CHECK (kind IN ('cases', 'updates', 'repayments', 'outside_counts', 'special_days')), -- what it held
    batch_id      INTEGER REFERENCES batches(id), -- the lot, for cases
    file_name     TEXT    NOT NULL,      -- name of the file, without its folder
    file_sha256   TEXT    NOT NULL,      -- SHA-256 of its bytes
    state         TEXT    NOT NULL CHECK (state IN ('running', 'applying', 'done', 'refused', 'broken_off')), -- applying: decided, and carried out to its end whatever happens; broken_off: what it had written is swept away
    rows_read     INTEGER NOT NULL DEFAULT 0, -- rows of the file
    rows_new      INTEGER NOT NULL DEFAULT 0, -- rows that entered something new
    rows_changed  INTEGER NOT NULL DEFAULT 0, -- rows that changed something known
    rows_same     INTEGER NOT NULL DEFAULT 0, -- rows that said nothing new
    rows_faulty   INTEGER NOT NULL DEFAULT 0, -- rows refused
    started_at_ms INTEGER NOT NULL,      -- when it began
    ended_at_ms   INTEGER,               -- when it ended
    actor         TEXT    NOT NULL       -- who brought it
) STRICT;

-- What an import will change in cases that are seen already: waits until the import is decided, then carried out row by
-- row, each row gone with its change. Empty while no import is at work.
CREATE TABLE import_rows (
    import_id     INTEGER NOT NULL REFERENCES imports(id), -- the import
    line          INTEGER NOT NULL,      -- row of the file
    body          TEXT    NOT NULL,      -- JSON: the change
    PRIMARY KEY (import_id, line)
) STRICT, WITHOUT ROWID;

-- Money that came in on a case, as the client reported it (C14). A case whose balance is paid closes by itself.
CREATE TABLE repayments (
    id            INTEGER PRIMARY KEY,   -- our id
    client_id     INTEGER NOT NULL REFERENCES clients(id), -- the client
    case_id       INTEGER NOT NULL REFERENCES cases(id), -- for which case
    reference     TEXT    NOT NULL,      -- the client's number of the payment; the same one is counted once
    amount_e4     INTEGER NOT NULL,      -- how much; negative for one taken back
    currency      TEXT    NOT NULL,      -- ISO 4217
    paid_on       TEXT    NOT NULL,      -- day of the payment
    settles       INTEGER NOT NULL CHECK (settles IN (0, 1)), -- 1: with it the case was settled
    agent_id      INTEGER REFERENCES agents(id), -- whose case it was on that day
    import_id     INTEGER REFERENCES imports(id), -- the file that brought it
    created_at_ms INTEGER NOT NULL,      -- when entered
    UNIQUE (client_id, reference)
) STRICT;
CREATE INDEX repayments_case ON repayments (case_id, paid_on);
CREATE INDEX repayments_day ON repayments (paid_on);

-- What an agent may say came of a call, and what that does (催收结果). A client's own list replaces the general one code by code.
CREATE TABLE dispositions (
    id            INTEGER PRIMARY KEY,   -- our id
    client_id     INTEGER REFERENCES clients(id), -- whose; NULL: for every client
    code          TEXT    NOT NULL,      -- stable word
    name_en       TEXT    NOT NULL,      -- shown, in English
    name_zh       TEXT    NOT NULL,      -- shown, in Chinese
    right_party   INTEGER NOT NULL CHECK (right_party IN (0, 1)), -- 1: the right person was spoken to
    effects       TEXT    NOT NULL,      -- JSON list of what it does: 'promise', 'bar_number', 'invalid_number', 'refuse_contact', 'deceased', 'suspected_fraud', 'complaint', 'agreement', 'callback'
    active        INTEGER NOT NULL DEFAULT 1 CHECK (active IN (0, 1)) -- 0: not offered any more
) STRICT;
CREATE UNIQUE INDEX dispositions_code ON dispositions (COALESCE(client_id, 0), code);

-- Call notes (催记): begun by the daemon at hang-up, finished by the agent.
CREATE TABLE notes (
    id               INTEGER PRIMARY KEY, -- our id
    case_id          INTEGER NOT NULL REFERENCES cases(id), -- the case
    client_id        INTEGER NOT NULL REFERENCES clients(id), -- whose case
    call_id          TEXT    UNIQUE REFERENCES attempts(id), -- the call; NULL for a note without one
    contact_point_id INTEGER REFERENCES contact_points(id), -- whom it reached
    relation         TEXT    NOT NULL,   -- of that person to the debt, at the time
    agent_id         INTEGER REFERENCES agents(id), -- whose call
    state            TEXT    NOT NULL CHECK (state IN ('draft', 'final')), -- a draft is what the daemon knows by itself
    disposition      TEXT,               -- code of what came of it; set with 'final'
    text             TEXT    NOT NULL DEFAULT '', -- free words
    promise_e4       INTEGER,            -- promised amount
    promise_on       TEXT,               -- promised day
    fields           TEXT    NOT NULL DEFAULT '{}', -- JSON: the client's own fields
    local_date       TEXT    NOT NULL,   -- day of the call local to the person called
    started_at_ms    INTEGER NOT NULL,   -- when the call began, or the note
    answered_at_ms   INTEGER,            -- when it was answered
    ended_at_ms      INTEGER,            -- when it ended
    cause            TEXT,               -- what ended it
    finished_at_ms   INTEGER,            -- when the agent finished it
    changed_at_ms    INTEGER NOT NULL    -- last change
) STRICT;
CREATE INDEX notes_case ON notes (case_id, started_at_ms);
CREATE INDEX notes_draft ON notes (agent_id) WHERE state = 'draft';
CREATE INDEX notes_day ON notes (local_date, client_id);
CREATE INDEX notes_promise ON notes (promise_on) WHERE promise_on IS NOT NULL;

-- A call promised for later. When it comes due it goes through the gate like every other.
CREATE TABLE callbacks (
    id               INTEGER PRIMARY KEY, -- our id
    case_id          INTEGER NOT NULL REFERENCES cases(id), -- the case
    contact_point_id INTEGER NOT NULL REFERENCES contact_points(id), -- whom to call
    agent_id         INTEGER NOT NULL REFERENCES agents(id), -- who calls
    due_at_ms        INTEGER NOT NULL,   -- not before
    state            TEXT    NOT NULL CHECK (state IN ('queued', 'offered', 'done', 'refused', 'cancelled', 'missed')), -- refused: the gate said no when it came due
    reason           TEXT,               -- why cancelled, refused or missed
    call_id          TEXT    REFERENCES attempts(id), -- the call it became
    created_at_ms    INTEGER NOT NULL,   -- when promised
    created_by       TEXT    NOT NULL,   -- by whom
    changed_at_ms    INTEGER NOT NULL    -- last change
) STRICT;
CREATE INDEX callbacks_due ON callbacks (due_at_ms) WHERE state = 'queued';
CREATE INDEX callbacks_case ON callbacks (case_id);

-- Who did what to a case, and why: states, allocations, marks. The cases' own history.
CREATE TABLE case_changes (
    id            INTEGER PRIMARY KEY,   -- our id
    case_id       INTEGER NOT NULL REFERENCES cases(id), -- the case
    at_ms         INTEGER NOT NULL,      -- when
    actor         TEXT    NOT NULL,      -- login name, or 'system'
    kind          TEXT    NOT NULL,      -- 'state', 'allocation', 'mark', 'balance', 'update'
    before        TEXT    NOT NULL,      -- JSON: what it was
    after         TEXT    NOT NULL,      -- JSON: what it became
    reason        TEXT    NOT NULL DEFAULT '' -- why
) STRICT;
CREATE INDEX case_changes_case ON case_changes (case_id, at_ms);

-- One allocation of many cases: planned, shown, carried out, and undone as a whole.
CREATE TABLE allocations (
    id            INTEGER PRIMARY KEY,   -- our id
    method        TEXT    NOT NULL,      -- 'match', 'even_count', 'even_amount', 'even_both', 'cumulative', 'manual'
    query         TEXT    NOT NULL,      -- JSON: which cases, and among whom
    state         TEXT    NOT NULL CHECK (state IN ('planned', 'running', 'done', 'undone')), -- how far
    actor         TEXT    NOT NULL,      -- who
    created_at_ms INTEGER NOT NULL,      -- when planned
    changed_at_ms INTEGER NOT NULL       -- last change
) STRICT;

-- The cases of an allocation, with what to go back to.
CREATE TABLE allocation_items (
    allocation_id INTEGER NOT NULL REFERENCES allocations(id), -- the allocation
    case_id       INTEGER NOT NULL REFERENCES cases(id), -- the case
    from_team_id  INTEGER,               -- before
    from_agent_id INTEGER,               -- before
    to_team_id    INTEGER,               -- after
    to_agent_id   INTEGER,               -- after
    applied       INTEGER NOT NULL DEFAULT 0 CHECK (applied IN (0, 1)), -- 1: carried out
    PRIMARY KEY (allocation_id, case_id)
) STRICT, WITHOUT ROWID;

-- What an agent did when: one row per stretch of time in one state.
CREATE TABLE agent_states (
    id            INTEGER PRIMARY KEY,   -- our id
    agent_id      INTEGER NOT NULL REFERENCES agents(id), -- who
    node          TEXT    NOT NULL,      -- the daemon that saw it
    state         TEXT    NOT NULL CHECK (state IN ('ready', 'reserved', 'talk', 'wrap_up', 'break')), -- what; being logged in is the union of all
    reason        TEXT    NOT NULL DEFAULT '', -- of a break
    from_ms       INTEGER NOT NULL,      -- since
    until_ms      INTEGER                -- to; NULL while it lasts
) STRICT;
CREATE INDEX agent_states_agent ON agent_states (agent_id, from_ms);
CREATE INDEX agent_states_open ON agent_states (node) WHERE until_ms IS NULL;

-- Major matters (重大事项), to be reported within 30 minutes (C19).
CREATE TABLE major_matters (
    id             INTEGER PRIMARY KEY,  -- our id
    client_id      INTEGER NOT NULL REFERENCES clients(id), -- the client
    case_id        INTEGER REFERENCES cases(id), -- the case, if it is about one
    kind           TEXT    NOT NULL,     -- 'complaint', 'threat', 'death', 'police', 'media', 'other'
    grade          TEXT    NOT NULL DEFAULT 'ordinary' CHECK (grade IN ('light', 'ordinary', 'serious')), -- of a complaint
    text           TEXT    NOT NULL,     -- what happened
    occurred_at_ms INTEGER NOT NULL,     -- when it became known
    reported_at_ms INTEGER,              -- when the client was told
    told           TEXT    NOT NULL DEFAULT '', -- who was told
    actor          TEXT    NOT NULL,     -- who entered it
    created_at_ms  INTEGER NOT NULL      -- when entered
) STRICT;
