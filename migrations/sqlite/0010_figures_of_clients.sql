-- Figures told apart by client: views that name it, and sums of each client by day. Conventions as in 0001, 0002 and 0004.

-- Connect rate by hour: one row for each value of each dimension, each rate with the ends of its interval at 95 % (Wilson).
-- client is the client of a client's or a batch's row: batches of two clients may have the same code.
DROP VIEW v_connect_rate_hourly;
CREATE VIEW v_connect_rate_hourly AS
SELECT h.dimension, h.value, COALESCE(c.code, b.code, g.code, t.code, h.value) AS label,
       h.local_date AS local_date, h.local_hour, h.attempts, h.lost_ours, h.seizures, h.connected, h.right_party,
       h.connected * 1.0 / NULLIF(h.attempts - h.lost_ours, 0) AS connect_rate, h.connected * 1.0 / NULLIF(h.attempts, 0) AS raw_rate,
       h.connected * 1.0 / NULLIF(h.seizures, 0) AS asr, h.effective * 1.0 / NULLIF(h.seizures, 0) AS ner,
       h.right_party * 1.0 / NULLIF(h.connected, 0) AS rpc_rate, (h.talk_ms) / 1000.0 AS talk_s,
       COALESCE(c.code, o.code) AS client,
       CASE WHEN (h.attempts - h.lost_ours) > 0 AND h.connected <= (h.attempts - h.lost_ours) THEN (h.connected + 1.9207294103470618 - 1.959963984540054 * sqrt(h.connected * 1.0 * ((h.attempts - h.lost_ours) - h.connected) / ((h.attempts - h.lost_ours)) + 0.9603647051735309)) / ((h.attempts - h.lost_ours) + 3.8414588206941236) END AS low,
       CASE WHEN (h.attempts - h.lost_ours) > 0 AND h.connected <= (h.attempts - h.lost_ours) THEN (h.connected + 1.9207294103470618 + 1.959963984540054 * sqrt(h.connected * 1.0 * ((h.attempts - h.lost_ours) - h.connected) / ((h.attempts - h.lost_ours)) + 0.9603647051735309)) / ((h.attempts - h.lost_ours) + 3.8414588206941236) END AS high,
       CASE WHEN h.attempts > 0 AND h.connected <= h.attempts THEN (h.connected + 1.9207294103470618 - 1.959963984540054 * sqrt(h.connected * 1.0 * (h.attempts - h.connected) / (h.attempts) + 0.9603647051735309)) / (h.attempts + 3.8414588206941236) END AS raw_low,
       CASE WHEN h.attempts > 0 AND h.connected <= h.attempts THEN (h.connected + 1.9207294103470618 + 1.959963984540054 * sqrt(h.connected * 1.0 * (h.attempts - h.connected) / (h.attempts) + 0.9603647051735309)) / (h.attempts + 3.8414588206941236) END AS raw_high,
       CASE WHEN h.seizures > 0 AND h.connected <= h.seizures THEN (h.connected + 1.9207294103470618 - 1.959963984540054 * sqrt(h.connected * 1.0 * (h.seizures - h.connected) / (h.seizures) + 0.9603647051735309)) / (h.seizures + 3.8414588206941236) END AS asr_low,
       CASE WHEN h.seizures > 0 AND h.connected <= h.seizures THEN (h.connected + 1.9207294103470618 + 1.959963984540054 * sqrt(h.connected * 1.0 * (h.seizures - h.connected) / (h.seizures) + 0.9603647051735309)) / (h.seizures + 3.8414588206941236) END AS asr_high,
       CASE WHEN h.seizures > 0 AND h.effective <= h.seizures THEN (h.effective + 1.9207294103470618 - 1.959963984540054 * sqrt(h.effective * 1.0 * (h.seizures - h.effective) / (h.seizures) + 0.9603647051735309)) / (h.seizures + 3.8414588206941236) END AS ner_low,
       CASE WHEN h.seizures > 0 AND h.effective <= h.seizures THEN (h.effective + 1.9207294103470618 + 1.959963984540054 * sqrt(h.effective * 1.0 * (h.seizures - h.effective) / (h.seizures) + 0.9603647051735309)) / (h.seizures + 3.8414588206941236) END AS ner_high,
       CASE WHEN h.connected > 0 AND h.right_party <= h.connected THEN (h.right_party + 1.9207294103470618 - 1.959963984540054 * sqrt(h.right_party * 1.0 * (h.connected - h.right_party) / (h.connected) + 0.9603647051735309)) / (h.connected + 3.8414588206941236) END AS rpc_low,
       CASE WHEN h.connected > 0 AND h.right_party <= h.connected THEN (h.right_party + 1.9207294103470618 + 1.959963984540054 * sqrt(h.right_party * 1.0 * (h.connected - h.right_party) / (h.connected) + 0.9603647051735309)) / (h.connected + 3.8414588206941236) END AS rpc_high
FROM rollup_hours h
     LEFT JOIN clients c ON h.dimension = 'client' AND CAST(c.id AS TEXT) = h.value
     LEFT JOIN batches b ON h.dimension = 'batch' AND CAST(b.id AS TEXT) = h.value
     LEFT JOIN clients o ON o.id = b.client_id
     LEFT JOIN agents g ON h.dimension = 'agent' AND CAST(g.id AS TEXT) = h.value
     LEFT JOIN teams t ON h.dimension = 'team' AND CAST(t.id AS TEXT) = h.value
WHERE h.attempts <> 0;

-- Connect rate by day; sealed_at is NULL until the day is sealed, corrections counts what was changed since. Intervals and
-- client as by hour.
DROP VIEW v_connect_rate_daily;
CREATE VIEW v_connect_rate_daily AS
SELECT d.dimension, d.value, COALESCE(c.code, b.code, g.code, t.code, d.value) AS label,
       d.local_date AS local_date, d.attempts, d.lost_ours, d.seizures, d.connected, d.right_party,
       d.connected * 1.0 / NULLIF(d.attempts - d.lost_ours, 0) AS connect_rate, d.connected * 1.0 / NULLIF(d.attempts, 0) AS raw_rate,
       d.connected * 1.0 / NULLIF(d.seizures, 0) AS asr, d.effective * 1.0 / NULLIF(d.seizures, 0) AS ner,
       d.right_party * 1.0 / NULLIF(d.connected, 0) AS rpc_rate, (d.talk_ms) / 1000.0 AS talk_s,
       strftime('%Y-%m-%dT%H:%M:%fZ', s.sealed_at_ms / 1000.0, 'unixepoch') AS sealed_at,
       (SELECT COUNT(*) FROM corrections x WHERE x.local_date = d.local_date) AS corrections,
       COALESCE(c.code, o.code) AS client,
       CASE WHEN (d.attempts - d.lost_ours) > 0 AND d.connected <= (d.attempts - d.lost_ours) THEN (d.connected + 1.9207294103470618 - 1.959963984540054 * sqrt(d.connected * 1.0 * ((d.attempts - d.lost_ours) - d.connected) / ((d.attempts - d.lost_ours)) + 0.9603647051735309)) / ((d.attempts - d.lost_ours) + 3.8414588206941236) END AS low,
       CASE WHEN (d.attempts - d.lost_ours) > 0 AND d.connected <= (d.attempts - d.lost_ours) THEN (d.connected + 1.9207294103470618 + 1.959963984540054 * sqrt(d.connected * 1.0 * ((d.attempts - d.lost_ours) - d.connected) / ((d.attempts - d.lost_ours)) + 0.9603647051735309)) / ((d.attempts - d.lost_ours) + 3.8414588206941236) END AS high,
       CASE WHEN d.attempts > 0 AND d.connected <= d.attempts THEN (d.connected + 1.9207294103470618 - 1.959963984540054 * sqrt(d.connected * 1.0 * (d.attempts - d.connected) / (d.attempts) + 0.9603647051735309)) / (d.attempts + 3.8414588206941236) END AS raw_low,
       CASE WHEN d.attempts > 0 AND d.connected <= d.attempts THEN (d.connected + 1.9207294103470618 + 1.959963984540054 * sqrt(d.connected * 1.0 * (d.attempts - d.connected) / (d.attempts) + 0.9603647051735309)) / (d.attempts + 3.8414588206941236) END AS raw_high,
       CASE WHEN d.seizures > 0 AND d.connected <= d.seizures THEN (d.connected + 1.9207294103470618 - 1.959963984540054 * sqrt(d.connected * 1.0 * (d.seizures - d.connected) / (d.seizures) + 0.9603647051735309)) / (d.seizures + 3.8414588206941236) END AS asr_low,
       CASE WHEN d.seizures > 0 AND d.connected <= d.seizures THEN (d.connected + 1.9207294103470618 + 1.959963984540054 * sqrt(d.connected * 1.0 * (d.seizures - d.connected) / (d.seizures) + 0.9603647051735309)) / (d.seizures + 3.8414588206941236) END AS asr_high,
       CASE WHEN d.seizures > 0 AND d.effective <= d.seizures THEN (d.effective + 1.9207294103470618 - 1.959963984540054 * sqrt(d.effective * 1.0 * (d.seizures - d.effective) / (d.seizures) + 0.9603647051735309)) / (d.seizures + 3.8414588206941236) END AS ner_low,
       CASE WHEN d.seizures > 0 AND d.effective <= d.seizures THEN (d.effective + 1.9207294103470618 + 1.959963984540054 * sqrt(d.effective * 1.0 * (d.seizures - d.effective) / (d.seizures) + 0.9603647051735309)) / (d.seizures + 3.8414588206941236) END AS ner_high,
       CASE WHEN d.connected > 0 AND d.right_party <= d.connected THEN (d.right_party + 1.9207294103470618 - 1.959963984540054 * sqrt(d.right_party * 1.0 * (d.connected - d.right_party) / (d.connected) + 0.9603647051735309)) / (d.connected + 3.8414588206941236) END AS rpc_low,
       CASE WHEN d.connected > 0 AND d.right_party <= d.connected THEN (d.right_party + 1.9207294103470618 + 1.959963984540054 * sqrt(d.right_party * 1.0 * (d.connected - d.right_party) / (d.connected) + 0.9603647051735309)) / (d.connected + 3.8414588206941236) END AS rpc_high
FROM rollup_days d LEFT JOIN sealed_days s ON s.local_date = d.local_date
     LEFT JOIN clients c ON d.dimension = 'client' AND CAST(c.id AS TEXT) = d.value
     LEFT JOIN batches b ON d.dimension = 'batch' AND CAST(b.id AS TEXT) = d.value
     LEFT JOIN clients o ON o.id = b.client_id
     LEFT JOIN agents g ON d.dimension = 'agent' AND CAST(g.id AS TEXT) = d.value
     LEFT JOIN teams t ON d.dimension = 'team' AND CAST(t.id AS TEXT) = d.value
WHERE d.attempts <> 0;

-- The sums of one client's calls by day, one dimension more at a time: what accounts of one client ask for. Its days alone
-- are in rollup_days, its hours in rollup_hours, its batches too, for a batch belongs to one client.
CREATE TABLE rollup_client_days (
    client_id     INTEGER NOT NULL,      -- the client
    dimension     TEXT    NOT NULL,      -- 'agent', 'bucket', 'caller_id', 'cause', 'disposition', 'number_kind', 'relation', 'team', 'trunk'
    value         TEXT    NOT NULL,      -- as in rollup_hours
    local_date    TEXT    NOT NULL,      -- day local to the person called
    attempts      INTEGER NOT NULL,      -- as in rollup_hours
    lost_ours     INTEGER NOT NULL,      -- as in rollup_hours
    seizures      INTEGER NOT NULL,      -- as in rollup_hours
    connected     INTEGER NOT NULL,      -- as in rollup_hours
    effective     INTEGER NOT NULL,      -- as in rollup_hours
    right_party   INTEGER NOT NULL,      -- as in rollup_hours
    talk_ms       INTEGER NOT NULL,      -- as in rollup_hours
    rung          INTEGER NOT NULL,      -- as in rollup_hours
    pdd_ms        INTEGER NOT NULL,      -- as in rollup_hours
    ring_ms       INTEGER NOT NULL,      -- as in rollup_hours
    PRIMARY KEY (client_id, dimension, local_date, value)
) STRICT, WITHOUT ROWID;
CREATE INDEX rollup_client_days_day ON rollup_client_days (local_date);

-- What there is already: what each call adds, and then its sums, one dimension after the other, for all of them at once would
-- be sorted at once.
CREATE VIEW calls_of_clients AS
SELECT a.client_id, a.local_date, CAST(a.agent_id AS TEXT) AS agent, a.bucket, a.caller_id, a.cause, a.disposition, a.number_kind,
       a.relation, COALESCE(CAST(a.team_id AS TEXT), '') AS team, a.trunk,
       CASE WHEN a.class = 'ours' AND a.answered_at_ms IS NULL THEN 1 ELSE 0 END AS lost_ours,
       CASE WHEN a.seized_at_ms IS NOT NULL THEN 1 ELSE 0 END AS seizures,
       CASE WHEN a.answered_at_ms IS NOT NULL THEN 1 ELSE 0 END AS connected,
       CASE WHEN a.seized_at_ms IS NOT NULL AND (a.answered_at_ms IS NOT NULL
                 OR a.cause IN ('answered', 'busy', 'no_answer', 'rejected')) THEN 1 ELSE 0 END AS effective,
       CASE WHEN a.right_party = 1 AND a.answered_at_ms IS NOT NULL THEN 1 ELSE 0 END AS right_party,
       COALESCE(a.ended_at_ms - a.answered_at_ms, 0) AS talk_ms,
       CASE WHEN a.rang_at_ms - a.seized_at_ms IS NOT NULL THEN 1 ELSE 0 END AS rung,
       COALESCE(a.rang_at_ms - a.seized_at_ms, 0) AS pdd_ms,
       CASE WHEN a.seized_at_ms IS NOT NULL THEN COALESCE(COALESCE(a.answered_at_ms, a.ended_at_ms) - a.rang_at_ms, 0) ELSE 0 END AS ring_ms
FROM attempts a WHERE a.purpose = 'case' AND a.ended_at_ms IS NOT NULL;
INSERT INTO rollup_client_days SELECT client_id, 'agent', agent, local_date, COUNT(*), SUM(lost_ours), SUM(seizures), SUM(connected),
    SUM(effective), SUM(right_party), SUM(talk_ms), SUM(rung), SUM(pdd_ms), SUM(ring_ms)
    FROM calls_of_clients GROUP BY local_date, client_id, agent;
INSERT INTO rollup_client_days SELECT client_id, 'bucket', bucket, local_date, COUNT(*), SUM(lost_ours), SUM(seizures), SUM(connected),
    SUM(effective), SUM(right_party), SUM(talk_ms), SUM(rung), SUM(pdd_ms), SUM(ring_ms)
    FROM calls_of_clients GROUP BY local_date, client_id, bucket;
INSERT INTO rollup_client_days SELECT client_id, 'caller_id', caller_id, local_date, COUNT(*), SUM(lost_ours), SUM(seizures), SUM(connected),
    SUM(effective), SUM(right_party), SUM(talk_ms), SUM(rung), SUM(pdd_ms), SUM(ring_ms)
    FROM calls_of_clients GROUP BY local_date, client_id, caller_id;
INSERT INTO rollup_client_days SELECT client_id, 'cause', cause, local_date, COUNT(*), SUM(lost_ours), SUM(seizures), SUM(connected),
    SUM(effective), SUM(right_party), SUM(talk_ms), SUM(rung), SUM(pdd_ms), SUM(ring_ms)
    FROM calls_of_clients GROUP BY local_date, client_id, cause;
INSERT INTO rollup_client_days SELECT client_id, 'disposition', disposition, local_date, COUNT(*), SUM(lost_ours), SUM(seizures), SUM(connected),
    SUM(effective), SUM(right_party), SUM(talk_ms), SUM(rung), SUM(pdd_ms), SUM(ring_ms)
    FROM calls_of_clients GROUP BY local_date, client_id, disposition;
INSERT INTO rollup_client_days SELECT client_id, 'number_kind', number_kind, local_date, COUNT(*), SUM(lost_ours), SUM(seizures), SUM(connected),
    SUM(effective), SUM(right_party), SUM(talk_ms), SUM(rung), SUM(pdd_ms), SUM(ring_ms)
    FROM calls_of_clients GROUP BY local_date, client_id, number_kind;
INSERT INTO rollup_client_days SELECT client_id, 'relation', relation, local_date, COUNT(*), SUM(lost_ours), SUM(seizures), SUM(connected),
    SUM(effective), SUM(right_party), SUM(talk_ms), SUM(rung), SUM(pdd_ms), SUM(ring_ms)
    FROM calls_of_clients GROUP BY local_date, client_id, relation;
INSERT INTO rollup_client_days SELECT client_id, 'team', team, local_date, COUNT(*), SUM(lost_ours), SUM(seizures), SUM(connected),
    SUM(effective), SUM(right_party), SUM(talk_ms), SUM(rung), SUM(pdd_ms), SUM(ring_ms)
    FROM calls_of_clients GROUP BY local_date, client_id, team;
INSERT INTO rollup_client_days SELECT client_id, 'trunk', trunk, local_date, COUNT(*), SUM(lost_ours), SUM(seizures), SUM(connected),
    SUM(effective), SUM(right_party), SUM(talk_ms), SUM(rung), SUM(pdd_ms), SUM(ring_ms)
    FROM calls_of_clients GROUP BY local_date, client_id, trunk;
DROP VIEW calls_of_clients;

-- Which rows the hash of a sealed day is over.
ALTER TABLE sealed_days ADD COLUMN form INTEGER NOT NULL DEFAULT 1; -- 1: as sealed before rollup_client_days, without them; 2: with them

-- What came back of a case is added up from the index alone.
DROP INDEX repayments_case;
CREATE INDEX repayments_case ON repayments (case_id, paid_on, currency, amount_e4);
