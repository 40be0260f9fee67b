-- What the figures need of each attempt, and the books that close a day. Conventions as in 0001 and 0002.

ALTER TABLE attempts ADD COLUMN team_id BIGINT ; -- dimension: team of the agent at dial time
ALTER TABLE attempts ADD COLUMN bucket TEXT NOT NULL DEFAULT ''; -- dimension: overdue bucket of the case at dial time
ALTER TABLE attempts ADD COLUMN number_kind TEXT NOT NULL DEFAULT ''; -- dimension: number type: mobile, fixed_line, …
ALTER TABLE attempts ADD COLUMN disposition TEXT NOT NULL DEFAULT ''; -- dimension: what the agent said came of it; '' until noted
ALTER TABLE attempts ADD COLUMN right_party BIGINT  NOT NULL DEFAULT 0 CHECK (right_party IN (0, 1)); -- 1: by the disposition the right person was spoken to

ALTER TABLE attempts ADD COLUMN first_call BIGINT  NOT NULL DEFAULT 0 CHECK (first_call IN (0, 1)); -- 1: the first attempt at its case, for the first-call report
UPDATE attempts SET first_call = 1
WHERE purpose = 'case' AND id = (SELECT MIN(b.id) FROM attempts b WHERE b.case_id = attempts.case_id AND b.purpose = 'case');

-- Everything that figures need of an ended attempt, in the order of days: any two dimensions are summed up, and a day is
-- recounted, from this index alone.
DROP INDEX attempts_day;
CREATE INDEX attempts_figures ON attempts (local_date, local_hour, client_id, batch_id, team_id, agent_id, bucket, relation,
    number_kind, caller_id, trunk, cause, disposition, right_party, first_call, seized_at_ms, rang_at_ms, answered_at_ms,
    ended_at_ms, class, purpose)
WHERE purpose = 'case' AND ended_at_ms IS NOT NULL;

-- Refusals by reason are counted from the receipts themselves.
CREATE INDEX receipts_refused ON receipts (at_ms, client_id, reasons) WHERE allowed = 0;

-- The roll-ups of 0001 anew: twelve dimensions, right-party contacts, and a key in the order in which reports read.
DROP TABLE rollup_hours;
DROP TABLE rollup_days;

-- Sums of the facts of ended attempts, one dimension at a time, by hour local to the person called. A row is
-- sum of f(fact) over the attempts that have this value; ringfence stats check recounts it.
CREATE TABLE rollup_hours (
    dimension     TEXT    NOT NULL,      -- 'agent', 'all', 'batch', 'bucket', 'caller_id', 'cause', 'client', 'disposition', 'number_kind', 'relation', 'team', 'trunk'
    value         TEXT    NOT NULL,      -- value of the dimension: id as text, or the word itself; '' for 'all', for no team and for no disposition
    local_date    TEXT    NOT NULL,      -- day local to the person called
    local_hour    BIGINT  NOT NULL,      -- hour local to the person called
    attempts      BIGINT  NOT NULL,      -- attempts ended
    lost_ours     BIGINT  NOT NULL,      -- of these, never answered by our own fault
    seizures      BIGINT  NOT NULL,      -- of the attempts, those whose customer INVITE left
    connected     BIGINT  NOT NULL,      -- of the seizures, those answered
    effective     BIGINT  NOT NULL,      -- answered, busy, no answer, rejected by the called party: numerator of NER
    right_party   BIGINT  NOT NULL,      -- of the connected, those with the right person, by the disposition
    talk_ms       BIGINT  NOT NULL,      -- answer to hang-up, summed
    rung          BIGINT  NOT NULL,      -- seizures that rang
    pdd_ms        BIGINT  NOT NULL,      -- INVITE to first ringing, summed over those that rang
    ring_ms       BIGINT  NOT NULL,      -- first ringing to answer or end, summed over those that rang
    PRIMARY KEY (dimension, local_date, local_hour, value)
);
CREATE INDEX rollup_hours_day ON rollup_hours (local_date);

-- The same sums by day.
CREATE TABLE rollup_days (
    dimension     TEXT    NOT NULL,      -- as in rollup_hours
    value         TEXT    NOT NULL,      -- as in rollup_hours
    local_date    TEXT    NOT NULL,      -- day local to the person called
    attempts      BIGINT  NOT NULL,      -- as in rollup_hours
    lost_ours     BIGINT  NOT NULL,      -- as in rollup_hours
    seizures      BIGINT  NOT NULL,      -- as in rollup_hours
    connected     BIGINT  NOT NULL,      -- as in rollup_hours
    effective     BIGINT  NOT NULL,      -- as in rollup_hours
    right_party   BIGINT  NOT NULL,      -- as in rollup_hours
    talk_ms       BIGINT  NOT NULL,      -- as in rollup_hours
    rung          BIGINT  NOT NULL,      -- as in rollup_hours
    pdd_ms        BIGINT  NOT NULL,      -- as in rollup_hours
    ring_ms       BIGINT  NOT NULL,      -- as in rollup_hours
    PRIMARY KEY (dimension, local_date, value)
);
CREATE INDEX rollup_days_day ON rollup_days (local_date);

-- The same sums of the first attempt at each case, by batch and disposition: the first-call report (T10).
CREATE TABLE rollup_first_calls (
    batch_id      BIGINT  NOT NULL,      -- the batch
    disposition   TEXT    NOT NULL,      -- what came of it; '' until noted
    local_date    TEXT    NOT NULL,      -- day local to the person called
    attempts      BIGINT  NOT NULL,      -- as in rollup_hours
    lost_ours     BIGINT  NOT NULL,      -- as in rollup_hours
    seizures      BIGINT  NOT NULL,      -- as in rollup_hours
    connected     BIGINT  NOT NULL,      -- as in rollup_hours
    effective     BIGINT  NOT NULL,      -- as in rollup_hours
    right_party   BIGINT  NOT NULL,      -- as in rollup_hours
    talk_ms       BIGINT  NOT NULL,      -- as in rollup_hours
    rung          BIGINT  NOT NULL,      -- as in rollup_hours
    pdd_ms        BIGINT  NOT NULL,      -- as in rollup_hours
    ring_ms       BIGINT  NOT NULL,      -- as in rollup_hours
    PRIMARY KEY (local_date, batch_id, disposition)
);
CREATE INDEX rollup_first_calls_batch ON rollup_first_calls (batch_id);

INSERT INTO rollup_hours (dimension, value, local_date, local_hour, attempts, lost_ours, seizures, connected, effective, right_party, talk_ms, rung, pdd_ms, ring_ms)
    SELECT d.dimension, CASE d.dimension WHEN 'agent' THEN CAST(a.agent_id AS TEXT) WHEN 'batch' THEN CAST(a.batch_id AS TEXT)
            WHEN 'caller_id' THEN a.caller_id WHEN 'cause' THEN a.cause WHEN 'client' THEN CAST(a.client_id AS TEXT)
            WHEN 'relation' THEN a.relation WHEN 'trunk' THEN a.trunk ELSE '' END, a.local_date, a.local_hour, COUNT(*), SUM(CASE WHEN a.class = 'ours' AND a.answered_at_ms IS NULL THEN 1 ELSE 0 END), COUNT(a.seized_at_ms),
        COUNT(a.answered_at_ms), COUNT(CASE WHEN a.seized_at_ms IS NOT NULL AND (a.answered_at_ms IS NOT NULL
            OR a.cause IN ('answered', 'busy', 'no_answer', 'rejected')) THEN 1 END), 0,
        COALESCE(SUM(a.ended_at_ms - a.answered_at_ms), 0), COUNT(a.rang_at_ms - a.seized_at_ms),
        COALESCE(SUM(a.rang_at_ms - a.seized_at_ms), 0), COALESCE(SUM(CASE WHEN a.seized_at_ms IS NOT NULL
            THEN COALESCE(a.answered_at_ms, a.ended_at_ms) - a.rang_at_ms END), 0)
    FROM attempts a CROSS JOIN (SELECT 'agent' AS dimension UNION ALL SELECT 'all' UNION ALL SELECT 'batch' UNION ALL SELECT 'bucket'
         UNION ALL SELECT 'caller_id' UNION ALL SELECT 'cause' UNION ALL SELECT 'client' UNION ALL SELECT 'disposition'
         UNION ALL SELECT 'number_kind' UNION ALL SELECT 'relation' UNION ALL SELECT 'team' UNION ALL SELECT 'trunk') AS d
    WHERE a.purpose = 'case' AND a.ended_at_ms IS NOT NULL
    GROUP BY 1, 2, 3, 4;
INSERT INTO rollup_days (dimension, value, local_date, attempts, lost_ours, seizures, connected, effective, right_party, talk_ms, rung, pdd_ms, ring_ms)
    SELECT dimension, value, local_date, SUM(attempts), SUM(lost_ours), SUM(seizures), SUM(connected), SUM(effective), SUM(right_party), SUM(talk_ms), SUM(rung), SUM(pdd_ms), SUM(ring_ms)
    FROM rollup_hours GROUP BY 1, 2, 3;
INSERT INTO rollup_first_calls (batch_id, disposition, local_date, attempts, lost_ours, seizures, connected, effective, right_party, talk_ms, rung, pdd_ms, ring_ms)
    SELECT a.batch_id, '', a.local_date, COUNT(*), SUM(CASE WHEN a.class = 'ours' AND a.answered_at_ms IS NULL THEN 1 ELSE 0 END), COUNT(a.seized_at_ms),
        COUNT(a.answered_at_ms), COUNT(CASE WHEN a.seized_at_ms IS NOT NULL AND (a.answered_at_ms IS NOT NULL
            OR a.cause IN ('answered', 'busy', 'no_answer', 'rejected')) THEN 1 END), 0,
        COALESCE(SUM(a.ended_at_ms - a.answered_at_ms), 0), COUNT(a.rang_at_ms - a.seized_at_ms),
        COALESCE(SUM(a.rang_at_ms - a.seized_at_ms), 0), COALESCE(SUM(CASE WHEN a.seized_at_ms IS NOT NULL
            THEN COALESCE(a.answered_at_ms, a.ended_at_ms) - a.rang_at_ms END), 0)
    FROM attempts a WHERE a.purpose = 'case' AND a.ended_at_ms IS NOT NULL AND a.first_call = 1
    GROUP BY 1, 2, 3;

-- What an agent's day was made of, by state: the sums of agent_states, cut at midnight in the zone shown to operators.
CREATE TABLE rollup_agent_days (
    agent_id      BIGINT  NOT NULL,      -- who
    on_date       TEXT    NOT NULL,      -- the day, in the zone shown to operators
    state         TEXT    NOT NULL,      -- as in agent_states
    reason        TEXT    NOT NULL,      -- of a break; '' otherwise
    spans         BIGINT  NOT NULL,      -- stretches of time that ended on this day
    ms            BIGINT  NOT NULL,      -- their length on this day
    PRIMARY KEY (on_date, agent_id, state, reason)
);

-- A day's stretches are counted again by it.
CREATE INDEX agent_states_time ON agent_states (from_ms);

-- Work that one node does for all: who has it, and until when if he dies over it.
CREATE TABLE claims (
    name          TEXT    PRIMARY KEY,   -- 'seal', 'rebuild'
    holder        TEXT    NOT NULL,      -- node or command that has it
    until_ms      BIGINT  NOT NULL       -- free again from then on
);

-- A day that was recounted and closed. What changes afterwards is a correction with a date of its own.
CREATE TABLE sealed_days (
    local_date    TEXT    PRIMARY KEY,   -- the day
    attempts      BIGINT  NOT NULL,      -- attempts counted
    rows          BIGINT  NOT NULL,      -- rows of figures compared
    sha256        TEXT    NOT NULL,      -- SHA-256 in hexadecimal of the day's figures in canonical form
    sealed_at_ms  BIGINT  NOT NULL       -- when
);

-- Changes of figures of sealed days, one row per attempt and change. The roll-ups hold them already: what was sealed is
-- the roll-ups of the day less f(after) - f(before) of these rows, and must still have the sealed hash.
CREATE TABLE corrections (
    id            BIGINT  GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,   -- order
    local_date    TEXT    NOT NULL,      -- the sealed day that is corrected
    attempt_id    TEXT    NOT NULL REFERENCES attempts(id), -- the attempt that changed
    before        TEXT    NOT NULL,      -- JSON: what of the attempt can change, before; null: it had not ended
    after         TEXT    NOT NULL,      -- JSON: the same afterwards
    actor         TEXT    NOT NULL,      -- who changed it
    made_at_ms    BIGINT  NOT NULL       -- when
);
CREATE INDEX corrections_day ON corrections (local_date);

-- What is paid where the base rate of a contract was not reached.
ALTER TABLE contract_tiers ADD COLUMN reduced_bp BIGINT; -- fee on what came back between minimum and base rate, in hundredths of a per cent; NULL: not told

-- Reports written by themselves.
CREATE TABLE report_schedules (
    id            BIGINT  GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,   -- our id
    name          TEXT    NOT NULL UNIQUE, -- name of the schedule
    report        TEXT    NOT NULL,      -- JSON: which report with which parameters
    format        TEXT    NOT NULL CHECK (format IN ('json', 'csv', 'xlsx')), -- as what
    cron          TEXT    NOT NULL,      -- when, five fields, in the zone shown to operators
    dir           TEXT    NOT NULL,      -- into which folder
    next_at_ms    BIGINT  NOT NULL,      -- next time; claimed by the node that moves it on
    last_at_ms    BIGINT,               -- last time
    last_error    TEXT,                  -- what went wrong then
    active        BIGINT  NOT NULL DEFAULT 1 CHECK (active IN (0, 1)), -- 0: stopped
    created_by    TEXT    NOT NULL,      -- by whom
    created_at_ms BIGINT  NOT NULL       -- when
);

-- Views for people who write SQL. Their columns are stable: new ones are added at the end, none changes its meaning.
-- docs/figures.md explains them.

-- Attempts with readable times and names.
CREATE VIEW v_attempt AS
SELECT a.id AS call_id, a.receipt_id, a.purpose, c.code AS client, b.code AS batch, k.reference AS case_reference,
       a.case_id, g.code AS agent, t.code AS team, a.bucket, a.relation, a.number_kind, a.trunk, a.caller_id, a.zone,
       CAST(a.local_date AS date) AS local_date, a.local_hour, to_timestamp(a.started_at_ms / 1000.0) AS started_at,
       to_timestamp(a.seized_at_ms / 1000.0) AS seized_at, to_timestamp(a.rang_at_ms / 1000.0) AS rang_at, to_timestamp(a.answered_at_ms / 1000.0) AS answered_at,
       to_timestamp(a.ended_at_ms / 1000.0) AS ended_at, a.cause, a.class AS fault_of, a.sip_status, a.q850, a.ended_by,
       COALESCE(a.answered_at_ms IS NOT NULL, false) AS connected,
       COALESCE(a.class = 'ours' AND a.answered_at_ms IS NULL, false) AS lost_ours,
       CAST((a.ended_at_ms - a.answered_at_ms) / 1000.0 AS numeric(20, 3)) AS talk_s, a.disposition,
       COALESCE(a.right_party = 1, false) AS right_party, COALESCE(a.first_call = 1, false) AS first_call
FROM attempts a JOIN clients c ON c.id = a.client_id JOIN batches b ON b.id = a.batch_id JOIN cases k ON k.id = a.case_id
     JOIN agents g ON g.id = a.agent_id LEFT JOIN teams t ON t.id = a.team_id;

-- Connect rate by hour: one row for each value of each dimension.
CREATE VIEW v_connect_rate_hourly AS
SELECT h.dimension, h.value, COALESCE(c.code, b.code, g.code, t.code, h.value) AS label,
       CAST(h.local_date AS date) AS local_date, h.local_hour, h.attempts, h.lost_ours, h.seizures, h.connected, h.right_party,
       CAST(h.connected / CAST(NULLIF(h.attempts - h.lost_ours, 0) AS numeric) AS numeric(7, 6)) AS connect_rate, CAST(h.connected / CAST(NULLIF(h.attempts, 0) AS numeric) AS numeric(7, 6)) AS raw_rate,
       CAST(h.connected / CAST(NULLIF(h.seizures, 0) AS numeric) AS numeric(7, 6)) AS asr, CAST(h.effective / CAST(NULLIF(h.seizures, 0) AS numeric) AS numeric(7, 6)) AS ner,
       CAST(h.right_party / CAST(NULLIF(h.connected, 0) AS numeric) AS numeric(7, 6)) AS rpc_rate, CAST((h.talk_ms) / 1000.0 AS numeric(20, 3)) AS talk_s
FROM rollup_hours h LEFT JOIN clients c ON h.dimension = 'client' AND CAST(c.id AS TEXT) = h.value
     LEFT JOIN batches b ON h.dimension = 'batch' AND CAST(b.id AS TEXT) = h.value
     LEFT JOIN agents g ON h.dimension = 'agent' AND CAST(g.id AS TEXT) = h.value
     LEFT JOIN teams t ON h.dimension = 'team' AND CAST(t.id AS TEXT) = h.value
WHERE h.attempts <> 0;

-- Connect rate by day; sealed_at is NULL until the day is sealed, corrections counts what was changed since.
CREATE VIEW v_connect_rate_daily AS
SELECT d.dimension, d.value, COALESCE(c.code, b.code, g.code, t.code, d.value) AS label,
       CAST(d.local_date AS date) AS local_date, d.attempts, d.lost_ours, d.seizures, d.connected, d.right_party,
       CAST(d.connected / CAST(NULLIF(d.attempts - d.lost_ours, 0) AS numeric) AS numeric(7, 6)) AS connect_rate, CAST(d.connected / CAST(NULLIF(d.attempts, 0) AS numeric) AS numeric(7, 6)) AS raw_rate,
       CAST(d.connected / CAST(NULLIF(d.seizures, 0) AS numeric) AS numeric(7, 6)) AS asr, CAST(d.effective / CAST(NULLIF(d.seizures, 0) AS numeric) AS numeric(7, 6)) AS ner,
       CAST(d.right_party / CAST(NULLIF(d.connected, 0) AS numeric) AS numeric(7, 6)) AS rpc_rate, CAST((d.talk_ms) / 1000.0 AS numeric(20, 3)) AS talk_s,
       to_timestamp(s.sealed_at_ms / 1000.0) AS sealed_at,
       (SELECT COUNT(*) FROM corrections x WHERE x.local_date = d.local_date) AS corrections
FROM rollup_days d LEFT JOIN sealed_days s ON s.local_date = d.local_date
     LEFT JOIN clients c ON d.dimension = 'client' AND CAST(c.id AS TEXT) = d.value
     LEFT JOIN batches b ON d.dimension = 'batch' AND CAST(b.id AS TEXT) = d.value
     LEFT JOIN agents g ON d.dimension = 'agent' AND CAST(g.id AS TEXT) = d.value
     LEFT JOIN teams t ON d.dimension = 'team' AND CAST(t.id AS TEXT) = d.value
WHERE d.attempts <> 0;

-- Cases that are revealed, with amounts as decimals. No names, no identity and no card numbers.
CREATE VIEW v_case AS
SELECT k.id AS case_id, c.code AS client, b.code AS batch, k.reference, k.state, k.reason, k.currency,
       CAST(k.placed_e4 / 10000.0 AS numeric(20, 4)) AS placed, CAST(k.balance_e4 / 10000.0 AS numeric(20, 4)) AS balance, CAST(k.repaid_e4 / 10000.0 AS numeric(20, 4)) AS repaid, k.overdue_days,
       k.bucket, k.region, k.mark, t.code AS team, g.code AS agent, to_timestamp(k.revealed_at_ms / 1000.0) AS revealed_at,
       to_timestamp(k.allocated_at_ms / 1000.0) AS allocated_at, to_timestamp(k.worked_at_ms / 1000.0) AS worked_at, to_timestamp(k.called_at_ms / 1000.0) AS called_at,
       to_timestamp(k.followed_at_ms / 1000.0) AS followed_at
FROM cases k JOIN clients c ON c.id = k.client_id JOIN batches b ON b.id = k.batch_id LEFT JOIN teams t ON t.id = k.team_id
     LEFT JOIN agents g ON g.id = k.agent_id
WHERE k.revealed_at_ms IS NOT NULL;

-- Refusals of the gate: calls that were not allowed and are in no other figure.
CREATE VIEW v_refusal AS
SELECT r.id AS receipt_id, to_timestamp(r.at_ms / 1000.0) AS refused_at, c.code AS client, r.case_id, g.code AS agent, r.reasons
FROM receipts r JOIN clients c ON c.id = r.client_id LEFT JOIN agents g ON g.id = r.agent_id
WHERE r.allowed = 0;
