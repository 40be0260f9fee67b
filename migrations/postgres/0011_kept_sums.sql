-- What reports would add up or look up once for every case, promise and agent's day, kept beside them. Conventions as in 0001,
-- 0002 and 0004.

-- Recovery (C16): what came back of a case within the cycle of its batch.
ALTER TABLE batches ADD COLUMN cycle_end_on TEXT; -- first day after its cycle: three months after placed_on, or the last day of that month; NULL as placed_on
UPDATE batches SET cycle_end_on = to_char(CAST(placed_on AS DATE) + INTERVAL '3 months', 'YYYY-MM-DD')
    WHERE placed_on IS NOT NULL;
ALTER TABLE cases ADD COLUMN cycle_repaid_e4 BIGINT NOT NULL DEFAULT 0; -- of repaid_e4: paid from its batch's placed_on to before cycle_end_on
UPDATE cases SET cycle_repaid_e4 =
    (SELECT COALESCE(SUM(r.amount_e4), 0) FROM batches b JOIN repayments r ON r.case_id = cases.id
         AND r.paid_on >= b.placed_on AND r.paid_on < b.cycle_end_on
     WHERE b.id = cases.batch_id)
    WHERE id IN (SELECT case_id FROM repayments);
-- Placed cases are added up from their index alone.
DROP INDEX cases_batch;
CREATE INDEX cases_batch ON cases (batch_id, bucket, currency, client_id, placed_e4, cycle_repaid_e4, debtor_id, revealed_at_ms, id);

-- Promises: found and told apart from their index alone.
ALTER TABLE notes ADD COLUMN promise_currency TEXT; -- ISO 4217 of promise_e4: the case's; NULL: nothing is promised
UPDATE notes SET promise_currency = (SELECT c.currency FROM cases c WHERE c.id = notes.case_id) WHERE promise_e4 IS NOT NULL;
DROP INDEX notes_promise;
CREATE INDEX notes_promise ON notes (promise_on, client_id, agent_id, promise_currency, promise_e4, local_date, case_id, state)
    WHERE promise_on IS NOT NULL AND state = 'final';

-- Agents' days: when each came and went is the first of came_ms and the last of went_ms of all states. The zone of the days is in
-- the configuration: the daemon fills in what was before.
ALTER TABLE rollup_agent_days ADD COLUMN came_ms BIGINT; -- when the first of these stretches began, or the day; NULL: not counted yet
ALTER TABLE rollup_agent_days ADD COLUMN went_ms BIGINT; -- when the last of them ended, or the day; NULL as came_ms
