-- A number is not invalid for everybody because it is not the number of one person. What was found wrong with a number is
-- kept as it was found: by whom, at whose contact point, on which call. Conventions as in 0001 and 0002.

-- "Wrong number" (号码非本人) is said of the number and the person whose contact point it is; "number dead" (空号, 停机) of the
-- number itself. Rows are lifted, never deleted. What was found before somebody answered there counts no more: the
-- reader looks for that, no row says it.
CREATE TABLE number_faults (
    id               INTEGER PRIMARY KEY,   -- our id
    number_id        INTEGER NOT NULL REFERENCES numbers(id), -- the number
    contact_point_id INTEGER NOT NULL REFERENCES contact_points(id), -- where it was found; a wrong number is so for the person behind it, in every case of that person
    kind             TEXT    NOT NULL CHECK (kind IN ('wrong_number', 'number_dead')), -- what is wrong
    counts           INTEGER NOT NULL CHECK (counts IN (0, 1)), -- 1: evidence of loss of contact, from a call of ours or vouched for by whoever may; 0: kept and shown only
    note_id          INTEGER REFERENCES notes(id), -- the note that says so
    call_id          TEXT    REFERENCES attempts(id), -- the call on which it was found; NULL without one
    at_ms            INTEGER NOT NULL,      -- when it was found: the end of that call, or the writing of the note
    actor            TEXT    NOT NULL,      -- who says so; 'system': taken over from before version 7 of the schema
    lifted_at_ms     INTEGER,               -- when it was taken back; NULL while it stands
    lifted_by        TEXT,                  -- by whom
    lifted_why       TEXT                   -- why
) STRICT;
CREATE INDEX number_faults_number ON number_faults (number_id) WHERE lifted_at_ms IS NULL;
CREATE INDEX number_faults_note ON number_faults (note_id) WHERE lifted_at_ms IS NULL;

-- What notes said until now, as far as their numbers are still invalid. Only what was found on a call counts; that it is
-- somebody else's number, only on one that was answered.
INSERT INTO number_faults (number_id, contact_point_id, kind, counts, note_id, call_id, at_ms, actor)
SELECT p.number_id, n.contact_point_id, CASE WHEN n.disposition = 'number_dead' THEN 'number_dead' ELSE 'wrong_number' END,
       CASE WHEN n.call_id IS NOT NULL AND (n.disposition = 'number_dead' OR n.answered_at_ms IS NOT NULL) THEN 1 ELSE 0 END,
       n.id, n.call_id, COALESCE(n.ended_at_ms, n.finished_at_ms, n.changed_at_ms), 'system'
FROM notes n JOIN contact_points p ON p.id = n.contact_point_id JOIN numbers m ON m.id = p.number_id
WHERE n.state = 'final' AND m.state = 'invalid'
  AND EXISTS (SELECT 1 FROM dispositions d WHERE d.code = n.disposition AND (d.client_id IS NULL OR d.client_id = n.client_id)
              AND d.effects LIKE '%"invalid_number"%');
ALTER TABLE numbers DROP COLUMN state;
ALTER TABLE numbers DROP COLUMN reason;

-- The effect 'dead_number' is about the number, 'invalid_number' about the person and the number.
UPDATE dispositions SET effects = '["dead_number"]' WHERE code = 'number_dead' AND effects = '["invalid_number"]';

-- Marks of cases are colours, set by people. That a debtor is dead or a debt a fraud is a bar; where a note wrote it over
-- the colour, the colour is put back.
UPDATE cases SET mark = COALESCE((
    SELECT REPLACE(REPLACE(h.before, '{"mark":"', ''), '"}', '') FROM case_changes h
    WHERE h.case_id = cases.id AND h.kind = 'mark' AND h.after = '{"mark":"' || cases.mark || '"}' ORDER BY h.id DESC LIMIT 1), '')
WHERE mark IN ('deceased', 'suspected_fraud');
-- Once more, where one of the two was written over the other.
UPDATE cases SET mark = COALESCE((
    SELECT REPLACE(REPLACE(h.before, '{"mark":"', ''), '"}', '') FROM case_changes h
    WHERE h.case_id = cases.id AND h.kind = 'mark' AND h.after = '{"mark":"' || cases.mark || '"}' ORDER BY h.id DESC LIMIT 1), '')
WHERE mark IN ('deceased', 'suspected_fraud');
UPDATE cases SET mark = '' WHERE mark IN ('deceased', 'suspected_fraud');
