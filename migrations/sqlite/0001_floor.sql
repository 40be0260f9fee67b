-- The nouns of the floor. Read from top to bottom: who placed the debt, whom it concerns, where that person can be
-- reached, who calls, what was decided, what was tried, what was recorded, what it adds up to.
--
-- Conventions: every time is milliseconds since 1970-01-01 UTC in a column ending in _ms; local days are TEXT
-- 'YYYY-MM-DD' of the person called; flags are 0 or 1; JSON is TEXT; ids of calls, receipts and recordings are UUIDv7
-- as TEXT, all other ids are integers. The SQLite and the PostgreSQL directory hold the same tables.

-- A bank or other creditor that places cases with us (委托方).
CREATE TABLE clients (
    id            INTEGER PRIMARY KEY,   -- our id
    code          TEXT    NOT NULL UNIQUE, -- short name used on the command line, in key names and in reports
    name          TEXT    NOT NULL,      -- name shown to people
    created_at_ms INTEGER NOT NULL       -- when it was entered
) STRICT;

-- The lot in which a client placed cases (委托批次).
CREATE TABLE batches (
    id            INTEGER PRIMARY KEY,   -- our id
    client_id     INTEGER NOT NULL REFERENCES clients(id), -- the client that placed it
    code          TEXT    NOT NULL,      -- the client's name of the lot
    created_at_ms INTEGER NOT NULL,      -- when its first case was imported
    UNIQUE (client_id, code)
) STRICT;

-- A person who owes (欠款人). One row for all cases of that person with one client, so that caps per debtor count
-- across cases.
CREATE TABLE debtors (
    id            INTEGER PRIMARY KEY,   -- our id
    client_id     INTEGER NOT NULL REFERENCES clients(id), -- the client whose customer this is
    reference     TEXT    NOT NULL,      -- the client's own key of the person
    created_at_ms INTEGER NOT NULL,      -- when first imported
    UNIQUE (client_id, reference)
) STRICT;

-- A debt placed with us (案件).
CREATE TABLE cases (
    id            INTEGER PRIMARY KEY,   -- our id
    client_id     INTEGER NOT NULL REFERENCES clients(id), -- the client that placed it
    batch_id      INTEGER NOT NULL REFERENCES batches(id), -- the lot it came in
    debtor_id     INTEGER NOT NULL REFERENCES debtors(id), -- who owes
    reference     TEXT    NOT NULL,      -- the client's case number
    state         TEXT    NOT NULL DEFAULT 'open'
                  CHECK (state IN ('open', 'paused', 'settled', 'returned', 'closed')), -- only an open case may be dialled
    created_at_ms INTEGER NOT NULL,      -- when imported
    changed_at_ms INTEGER NOT NULL,      -- when state last changed
    UNIQUE (client_id, reference)
) STRICT;
CREATE INDEX cases_debtor ON cases (debtor_id);
CREATE INDEX cases_batch ON cases (batch_id);

-- One telephone number, once, however many people share it. What bars a number bars it everywhere.
CREATE TABLE numbers (
    id            INTEGER PRIMARY KEY,   -- our id; logs and errors name this, never the number
    digits        TEXT    NOT NULL UNIQUE, -- E.164 with +, or a listed short code without
    region        TEXT,                  -- two letters of its numbering plan, where that is known
    state         TEXT    NOT NULL DEFAULT 'usable'
                  CHECK (state IN ('usable', 'invalid', 'barred')), -- invalid: does not reach the person, counts towards loss of contact; barred: must not be called
    reason        TEXT,                  -- why it is invalid or barred
    created_at_ms INTEGER NOT NULL,      -- when first seen
    changed_at_ms INTEGER NOT NULL       -- when state last changed
) STRICT;

-- A person tied to a case: the debtor or a third party (联系人).
CREATE TABLE contacts (
    id            INTEGER PRIMARY KEY,   -- our id
    case_id       INTEGER NOT NULL REFERENCES cases(id), -- the case
    name          TEXT    NOT NULL,      -- name of the person
    relation      TEXT    NOT NULL
                  CHECK (relation IN ('debtor', 'joint_debtor', 'guarantor', 'relative', 'colleague', 'friend', 'other')), -- to the debt; from 'relative' on: a third party
    refused_at_ms INTEGER,               -- when this person, being a third party, asked not to be called again
    created_at_ms INTEGER NOT NULL,      -- when imported
    UNIQUE (case_id, name, relation)
) STRICT;

-- One number of one contact (号码): what a click dials.
CREATE TABLE contact_points (
    id            INTEGER PRIMARY KEY,   -- our id
    case_id       INTEGER NOT NULL REFERENCES cases(id), -- the case, repeated from the contact for the foreign keys of attempts
    contact_id    INTEGER NOT NULL REFERENCES contacts(id), -- whose number
    number_id     INTEGER NOT NULL REFERENCES numbers(id), -- the number
    created_at_ms INTEGER NOT NULL,      -- when imported
    UNIQUE (contact_id, number_id)
) STRICT;
CREATE INDEX contact_points_case ON contact_points (case_id);
CREATE INDEX contact_points_number ON contact_points (number_id);

-- A human who calls (坐席).
CREATE TABLE agents (
    id            INTEGER PRIMARY KEY,   -- our id
    code          TEXT    NOT NULL UNIQUE, -- employee number
    name          TEXT    NOT NULL,      -- name shown to people
    extension     TEXT    NOT NULL UNIQUE, -- the listed extension of the agent's phone at the PBX
    active        INTEGER NOT NULL DEFAULT 1 CHECK (active IN (0, 1)), -- 0: may not call any more
    created_at_ms INTEGER NOT NULL       -- when entered
) STRICT;

-- An account that may use the API. The bearer token itself is stored nowhere.
CREATE TABLE users (
    id            INTEGER PRIMARY KEY,   -- our id
    name          TEXT    NOT NULL UNIQUE, -- login name
    role          TEXT    NOT NULL
                  CHECK (role IN ('agent', 'lead', 'qa', 'operations', 'compliance', 'auditor', 'admin')), -- what the account may do
    agent_id      INTEGER REFERENCES agents(id), -- the agent this account speaks for, where it does
    all_clients   INTEGER NOT NULL DEFAULT 0 CHECK (all_clients IN (0, 1)), -- 1: sees every client, also later ones
    token_sha256  TEXT    NOT NULL UNIQUE, -- SHA-256 in hexadecimal of the 256-bit random token
    token_at_ms   INTEGER NOT NULL,      -- when the token was issued
    created_at_ms INTEGER NOT NULL,      -- when the account was made
    revoked_at_ms INTEGER,               -- when it was barred; NULL while valid
    used_at_ms    INTEGER                -- last use of the token, to the minute
) STRICT;

-- The clients whose objects an account may see, where all_clients is 0.
CREATE TABLE user_clients (
    user_id       INTEGER NOT NULL REFERENCES users(id), -- the account
    client_id     INTEGER NOT NULL REFERENCES clients(id), -- a client it may see
    PRIMARY KEY (user_id, client_id)
) STRICT;

-- Rows whose only purpose is to be updated first by a transaction that decides, so that two of them take turns.
CREATE TABLE guards (
    name          TEXT    PRIMARY KEY,   -- 'debtor:1', 'number:2', 'access_log'
    turns         INTEGER NOT NULL       -- how often it was taken
) STRICT;

-- The stored proof of one policy decision, allowed or refused (判定凭证). Never changed, never deleted before the recording.
CREATE TABLE receipts (
    id               TEXT    PRIMARY KEY, -- UUIDv7
    at_ms            INTEGER NOT NULL,   -- the instant decided for
    allowed          INTEGER NOT NULL CHECK (allowed IN (0, 1)), -- 1: the call was allowed
    client_id        INTEGER NOT NULL REFERENCES clients(id), -- whose case
    case_id          INTEGER NOT NULL REFERENCES cases(id), -- which case
    contact_point_id INTEGER NOT NULL REFERENCES contact_points(id), -- which number of which person
    agent_id         INTEGER REFERENCES agents(id), -- who wanted to call
    user_id          INTEGER REFERENCES users(id), -- the account that asked
    rules_sha256     TEXT    NOT NULL,   -- hash of the rule set's canonical text
    reasons          TEXT    NOT NULL,   -- JSON list of the codes of every reason of a refusal; [] if allowed
    body             TEXT    NOT NULL    -- JSON: rule text, inputs, counters, zones, evaluator version
) STRICT;
CREATE INDEX receipts_case ON receipts (case_id, at_ms);

-- An allowed request to reach a contact point (拨打), stored before the first INVITE. One row per call, with its
-- dimensions as they were at dial time: the fact that every figure is a sum of.
CREATE TABLE attempts (
    id               TEXT    PRIMARY KEY, -- UUIDv7, the call's id
    receipt_id       TEXT    NOT NULL UNIQUE REFERENCES receipts(id), -- the decision that allowed it; one receipt, one attempt
    purpose          TEXT    NOT NULL CHECK (purpose IN ('case', 'test')), -- test calls count against caps, never in figures
    node             TEXT    NOT NULL,   -- the daemon that runs the call
    client_id        INTEGER NOT NULL REFERENCES clients(id), -- dimension: client
    batch_id         INTEGER NOT NULL REFERENCES batches(id), -- dimension: batch
    case_id          INTEGER NOT NULL REFERENCES cases(id), -- the case
    debtor_id        INTEGER NOT NULL REFERENCES debtors(id), -- caps per debtor count these
    contact_point_id INTEGER NOT NULL REFERENCES contact_points(id), -- what was dialled
    number_id        INTEGER NOT NULL REFERENCES numbers(id), -- caps per number count these
    relation         TEXT    NOT NULL,   -- dimension: relation of the person called to the debtor
    agent_id         INTEGER NOT NULL REFERENCES agents(id), -- dimension: agent
    user_id          INTEGER REFERENCES users(id), -- the account that clicked
    trunk            TEXT    NOT NULL,   -- dimension: name of the trunk
    caller_id        TEXT    NOT NULL,   -- dimension: the number of ours that was shown
    zone             TEXT    NOT NULL,   -- time zone of the person called that the local day and hour are of
    local_date       TEXT    NOT NULL,   -- day 'YYYY-MM-DD' local to the person called, at started_at_ms
    local_hour       INTEGER NOT NULL CHECK (local_hour BETWEEN 0 AND 23), -- hour local to the person called, at started_at_ms
    started_at_ms    INTEGER NOT NULL,   -- when it was allowed and stored
    valid_until_ms   INTEGER NOT NULL,   -- no customer INVITE after this instant
    seized_at_ms     INTEGER,            -- customer INVITE about to be handed to the trunk; NULL: none left
    rang_at_ms       INTEGER,            -- first ringing or early media of the customer
    answered_at_ms   INTEGER,            -- customer's 200 OK
    ended_at_ms      INTEGER,            -- when it was over; NULL while under way
    cause            TEXT,               -- dimension: what ended it, set with ended_at_ms
    class            TEXT CHECK (class IN ('ours', 'trunk', 'callee', 'caller')), -- whose doing that was
    sip_status       INTEGER,            -- final SIP status of the customer leg, if there was one
    q850             INTEGER,            -- Q.850 cause of the peer, if it gave one
    ended_by         TEXT,               -- who ended it: agent, customer, system
    overrun_ms       INTEGER NOT NULL DEFAULT 0, -- talk time behind the closing hour
    settled          INTEGER NOT NULL DEFAULT 0 CHECK (settled IN (0, 1)), -- 1: closed at start-up after a crash
    CHECK ((ended_at_ms IS NULL) = (cause IS NULL)),
    CHECK ((ended_at_ms IS NULL) = (class IS NULL)),
    CHECK (answered_at_ms IS NULL OR seized_at_ms IS NOT NULL)
) STRICT;
CREATE INDEX attempts_number ON attempts (number_id, started_at_ms);
CREATE INDEX attempts_debtor ON attempts (debtor_id, started_at_ms);
CREATE INDEX attempts_day ON attempts (local_date);
CREATE INDEX attempts_case ON attempts (case_id, started_at_ms);
CREATE INDEX attempts_open ON attempts (node) WHERE ended_at_ms IS NULL;

-- One recorded segment of one call; the file itself lies in the vault under the same id.
CREATE TABLE recordings (
    id              TEXT    PRIMARY KEY, -- UUIDv7, the vault's name of the file
    call_id         TEXT    NOT NULL REFERENCES attempts(id), -- the call
    segment         INTEGER NOT NULL,    -- 1, 2, … in the order recorded
    client_id       INTEGER NOT NULL REFERENCES clients(id), -- whose key protects it
    state           TEXT    NOT NULL CHECK (state IN ('live', 'sealed', 'recovered', 'abandoned', 'lost')), -- abandoned: nothing was answered; lost: the vault has no such file
    created_at_ms   INTEGER NOT NULL,    -- when the vault had its durable first page
    started_at_ms   INTEGER,             -- first instant of audio: the bridge
    ended_at_ms     INTEGER,             -- end of audio
    sealed_at_ms    INTEGER,             -- when it was sealed or recovered
    sample_rate     INTEGER NOT NULL,    -- samples a second and channel
    channels        INTEGER NOT NULL,    -- 2: agent left, customer right
    samples         INTEGER,             -- samples a channel
    duration_ms     INTEGER,             -- samples as time
    expected_ms     INTEGER,             -- answered time that should be covered
    covered_ms      INTEGER,             -- answered time accounted for; coverage = covered / expected
    bytes           INTEGER,             -- size of the sealed file
    wav_sha256      TEXT,                -- SHA-256 in hexadecimal of the exported WAV
    analysis        TEXT,                -- JSON: silence, level, one-sidedness, by channel
    gaps            TEXT,                -- JSON: what is missing and why
    retain_until_ms INTEGER,             -- deletion is forbidden before this instant
    UNIQUE (call_id, segment)
) STRICT;
CREATE INDEX recordings_live ON recordings (created_at_ms) WHERE state = 'live';

-- Idempotency keys of POST /calls: the same key by the same account gets the same answer.
CREATE TABLE idempotency_keys (
    user_id        INTEGER NOT NULL REFERENCES users(id), -- the account that asked
    key            TEXT    NOT NULL,     -- its key
    request_sha256 TEXT    NOT NULL,     -- hash of the body: the same key with another body is an error
    status         INTEGER NOT NULL,     -- HTTP status answered
    body           TEXT    NOT NULL,     -- JSON answered
    created_at_ms  INTEGER NOT NULL,     -- when; rows are forgotten after a day
    PRIMARY KEY (user_id, key)
) STRICT;
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at_ms);

-- Journal of SIP dialogs: written before each INVITE leaves, so that a restart can send CANCEL or BYE.
CREATE TABLE dialogs (
    call_id       TEXT    NOT NULL,      -- the call (no foreign key: test and inbound calls have legs too)
    leg           TEXT    NOT NULL,      -- 'agent', 'customer', later legs by their own name
    node          TEXT    NOT NULL,      -- the daemon that owns the leg
    trunk         TEXT    NOT NULL,      -- through which connection it was sent
    snapshot      TEXT    NOT NULL,      -- versioned text of ringfence-sip
    written_at_ms INTEGER NOT NULL,      -- last write
    PRIMARY KEY (call_id, leg)
) STRICT;

-- What happened, for those who follow from outside: one row per call end.
CREATE TABLE events (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT, -- order of writing, never reused
    at_ms         INTEGER NOT NULL,      -- when it happened
    kind          TEXT    NOT NULL,      -- 'call.ended'
    client_id     INTEGER REFERENCES clients(id), -- who may see it
    subject       TEXT    NOT NULL,      -- id of what it is about
    body          TEXT    NOT NULL       -- JSON without numbers and names
) STRICT;

-- Who touched what. Hash-chained: changing, removing or reordering a row breaks every later hash.
CREATE TABLE access_log (
    seq           INTEGER PRIMARY KEY,   -- 1, 2, 3, … without a hole
    at_ms         INTEGER NOT NULL,      -- when
    actor         TEXT    NOT NULL,      -- login name, or 'system'
    action        TEXT    NOT NULL,      -- 'recording.play', 'recording.export', 'user.add', …
    object        TEXT    NOT NULL,      -- id of what was touched
    client_id     INTEGER,               -- whose object it was
    detail        TEXT    NOT NULL,      -- JSON: range, address, reason; no numbers, no names
    previous_hash TEXT    NOT NULL,      -- hash of the row before; 64 zeros for the first
    hash          TEXT    NOT NULL UNIQUE -- SHA-256 in hexadecimal of previous_hash and the row's canonical text
) STRICT;

-- What each figure means, in words, beside the figures.
CREATE TABLE definitions (
    name          TEXT    NOT NULL,      -- 'connect_rate', 'asr', …
    version       INTEGER NOT NULL,      -- raised when the meaning changes
    unit          TEXT    NOT NULL,      -- 'count', 'ratio', 'ms'
    formula       TEXT    NOT NULL,      -- in the columns of the roll-ups
    text_en       TEXT    NOT NULL,      -- definition in English
    text_zh       TEXT    NOT NULL,      -- definition in Chinese
    PRIMARY KEY (name, version)
) STRICT;

-- Sums of the facts of ended attempts, one dimension at a time, by hour local to the person called. A row is
-- sum of f(fact) over the attempts that have this value; ringfence stats check recounts it.
CREATE TABLE rollup_hours (
    dimension     TEXT    NOT NULL,      -- 'all', 'client', 'batch', 'agent', 'relation', 'trunk', 'caller_id', 'cause'
    value         TEXT    NOT NULL,      -- value of the dimension: id as text, or the word itself; '' for 'all'
    local_date    TEXT    NOT NULL,      -- day local to the person called
    local_hour    INTEGER NOT NULL,      -- hour local to the person called
    attempts      INTEGER NOT NULL,      -- attempts ended
    lost_ours     INTEGER NOT NULL,      -- of these, never answered by our own fault
    seizures      INTEGER NOT NULL,      -- of the attempts, those whose customer INVITE left
    connected     INTEGER NOT NULL,      -- of the seizures, those answered
    effective     INTEGER NOT NULL,      -- answered, busy, no answer, rejected by the called party: numerator of NER
    talk_ms       INTEGER NOT NULL,      -- answer to hang-up, summed
    rung          INTEGER NOT NULL,      -- seizures that rang
    pdd_ms        INTEGER NOT NULL,      -- INVITE to first ringing, summed over those that rang
    ring_ms       INTEGER NOT NULL,      -- first ringing to answer or end, summed over those that rang
    PRIMARY KEY (dimension, value, local_date, local_hour)
) STRICT, WITHOUT ROWID;
CREATE INDEX rollup_hours_day ON rollup_hours (local_date);

-- The same sums by day.
CREATE TABLE rollup_days (
    dimension     TEXT    NOT NULL,      -- as in rollup_hours
    value         TEXT    NOT NULL,      -- as in rollup_hours
    local_date    TEXT    NOT NULL,      -- day local to the person called
    attempts      INTEGER NOT NULL,      -- as in rollup_hours
    lost_ours     INTEGER NOT NULL,      -- as in rollup_hours
    seizures      INTEGER NOT NULL,      -- as in rollup_hours
    connected     INTEGER NOT NULL,      -- as in rollup_hours
    effective     INTEGER NOT NULL,      -- as in rollup_hours
    talk_ms       INTEGER NOT NULL,      -- as in rollup_hours
    rung          INTEGER NOT NULL,      -- as in rollup_hours
    pdd_ms        INTEGER NOT NULL,      -- as in rollup_hours
    ring_ms       INTEGER NOT NULL,      -- as in rollup_hours
    PRIMARY KEY (dimension, value, local_date)
) STRICT, WITHOUT ROWID;
