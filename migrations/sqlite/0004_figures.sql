-- What the figures need of each attempt, and the books that close a day. Conventions as in 0001 and 0002.

ALTER TABLE attempts ADD COLUMN team_id INTEGER; -- dimension: team of the agent at dial time
ALTER TABLE attempts ADD COLUMN bucket TEXT NOT NULL DEFAULT ''; -- dimension: overdue bucket of the case at dial time
ALTER TABLE attempts ADD COLUMN number_kind TEXT NOT NULL DEFAULT ''; -- dimension: number type: mobile, fixed_line, …
ALTER TABLE attempts ADD COLUMN disposition TEXT NOT NULL DEFAULT ''; -- dimension: what the agent said came of it; '' until noted
ALTER TABLE attempts ADD COLUMN right_party INTEGER NOT NULL DEFAULT 0 CHECK (right_party IN (0, 1)); -- 1: by the disposition the right person was spoken to

-- A day that was recounted and closed. What changes afterwards is a correction with a date of its own.
CREATE TABLE sealed_days (
    local_date    TEXT    PRIMARY KEY,   -- the day
    attempts      INTEGER NOT NULL,      -- attempts counted
    rows          INTEGER NOT NULL,      -- rows of figures compared
    sha256        TEXT    NOT NULL,      -- SHA-256 in hexadecimal of the day's figures in canonical form
    sealed_at_ms  INTEGER NOT NULL       -- when
) STRICT;

-- Changes of figures of sealed days: f(new) - f(old), one row per attempt and change.
CREATE TABLE corrections (
    id            INTEGER PRIMARY KEY,   -- order
    local_date    TEXT    NOT NULL,      -- the sealed day that is corrected
    attempt_id    TEXT    NOT NULL REFERENCES attempts(id), -- the attempt that changed
    before        TEXT    NOT NULL,      -- JSON: what of it changed, before
    after         TEXT    NOT NULL,      -- JSON: and after
    actor         TEXT    NOT NULL,      -- who changed it
    made_at_ms    INTEGER NOT NULL       -- when
) STRICT;
CREATE INDEX corrections_day ON corrections (local_date);

-- Reports written by themselves.
CREATE TABLE report_schedules (
    id            INTEGER PRIMARY KEY,   -- our id
    name          TEXT    NOT NULL UNIQUE, -- name of the schedule
    report        TEXT    NOT NULL,      -- JSON: which report with which parameters
    format        TEXT    NOT NULL CHECK (format IN ('json', 'csv', 'xlsx')), -- as what
    cron          TEXT    NOT NULL,      -- when, five fields, in the zone shown to operators
    dir           TEXT    NOT NULL,      -- into which folder
    next_at_ms    INTEGER NOT NULL,      -- next time; claimed by the node that moves it on
    last_at_ms    INTEGER,               -- last time
    last_error    TEXT,                  -- what went wrong then
    active        INTEGER NOT NULL DEFAULT 1 CHECK (active IN (0, 1)), -- 0: stopped
    created_by    TEXT    NOT NULL,      -- by whom
    created_at_ms INTEGER NOT NULL       -- when
) STRICT;
