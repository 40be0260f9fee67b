-- What work on cases needs to be done to its end, and to be reckoned from its day. Conventions as in 0001 and 0002.

-- Two steps of an allocation: its cases are written before anybody sees it, and what is decided is carried out by whoever
-- comes next if it broke off.
ALTER TABLE allocations ADD COLUMN staged INTEGER NOT NULL DEFAULT 1 CHECK (staged IN (0, 1)); -- 0: its cases are being written; nobody sees it
ALTER TABLE allocations ADD COLUMN undoing INTEGER NOT NULL DEFAULT 0 CHECK (undoing IN (0, 1)); -- 1: decided to be undone, and not yet undone to its end
ALTER TABLE allocations ADD COLUMN decided_by TEXT; -- who decided to carry it out, or to undo it
-- Whether a case was dealt again since is asked of each case that goes back.
CREATE INDEX allocation_items_case ON allocation_items (case_id, allocation_id) WHERE applied = 1;

-- Batches bear the day on which the client placed them, and cycles of recovery begin with it. Of those that came in before
-- it was asked for, the day of their import in Shanghai is taken; `ringfence cases contracts placed` corrects it.
UPDATE batches SET placed_on = strftime('%Y-%m-%d', created_at_ms / 1000 + 28800, 'unixepoch')
WHERE placed_on IS NULL;

-- Cases that are seen: revealed by themselves and by their batch. The columns stay as they were.
DROP VIEW v_case;
CREATE VIEW v_case AS
SELECT k.id AS case_id, c.code AS client, b.code AS batch, k.reference, k.state, k.reason, k.currency,
       k.placed_e4 / 10000.0 AS placed, k.balance_e4 / 10000.0 AS balance, k.repaid_e4 / 10000.0 AS repaid, k.overdue_days,
       k.bucket, k.region, k.mark, t.code AS team, g.code AS agent, strftime('%Y-%m-%dT%H:%M:%fZ', k.revealed_at_ms / 1000.0, 'unixepoch') AS revealed_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', k.allocated_at_ms / 1000.0, 'unixepoch') AS allocated_at, strftime('%Y-%m-%dT%H:%M:%fZ', k.worked_at_ms / 1000.0, 'unixepoch') AS worked_at, strftime('%Y-%m-%dT%H:%M:%fZ', k.called_at_ms / 1000.0, 'unixepoch') AS called_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', k.followed_at_ms / 1000.0, 'unixepoch') AS followed_at
FROM cases k JOIN clients c ON c.id = k.client_id JOIN batches b ON b.id = k.batch_id LEFT JOIN teams t ON t.id = k.team_id
     LEFT JOIN agents g ON g.id = k.agent_id
WHERE k.revealed_at_ms IS NOT NULL AND b.revealed_at_ms IS NOT NULL;
