-- Rules go by who somebody is, not by what he is to a debt: a contact whose identity number the client gave is the person
-- with that number. Conventions as in 0001 and 0002.

-- The contacts that a person is, by the identity number.
CREATE INDEX contacts_identity ON contacts (identity_hash) WHERE identity_hash IS NOT NULL;
INSERT INTO persons (identity_hash, created_at_ms)
    SELECT t.identity_hash, MIN(t.created_at_ms) FROM contacts t
    WHERE t.identity_hash IS NOT NULL AND NOT EXISTS (SELECT 1 FROM persons p WHERE p.identity_hash = t.identity_hash)
    GROUP BY t.identity_hash;

-- A file of the rules' own: calls that other agencies made, numbers that must not be called. All of it comes into force or
-- nothing: its rows wait in rule_list_rows until the list is decided, then they are carried out, whatever happens.
CREATE TABLE rule_lists (
    id            INTEGER PRIMARY KEY,   -- our id
    kind          TEXT    NOT NULL CHECK (kind IN ('outside_counts', 'bars')), -- what it holds
    client_id     INTEGER REFERENCES clients(id), -- whose file, or for whose cases alone it holds; NULL: for all
    file_name     TEXT    NOT NULL,      -- name of the file, without its folder
    state         TEXT    NOT NULL CHECK (state IN ('running', 'applying', 'done', 'broken_off')), -- as in imports
    rows_read     INTEGER NOT NULL DEFAULT 0, -- rows of the file
    rows_new      INTEGER NOT NULL DEFAULT 0, -- rows that entered something new
    rows_changed  INTEGER NOT NULL DEFAULT 0, -- rows that changed something known
    rows_same     INTEGER NOT NULL DEFAULT 0, -- rows that said nothing new
    rows_faulty   INTEGER NOT NULL DEFAULT 0, -- rows left out
    started_at_ms INTEGER NOT NULL,      -- when it began
    ended_at_ms   INTEGER,               -- when it ended
    actor         TEXT    NOT NULL       -- who brought it
) STRICT;

-- The rows of a list that are still to be carried out. Empty while none is at work.
CREATE TABLE rule_list_rows (
    list_id       INTEGER NOT NULL REFERENCES rule_lists(id), -- the list
    line          INTEGER NOT NULL,      -- place in the list
    body          TEXT    NOT NULL,      -- JSON: the row
    PRIMARY KEY (list_id, line)
) STRICT, WITHOUT ROWID;
