-- Daemons that share a database know each other's rules. Conventions as in 0001 and 0002.

ALTER TABLE rules_in_force ADD COLUMN node TEXT NOT NULL DEFAULT ''; -- which daemon went by it; '' before daemons were told apart
CREATE INDEX rules_in_force_newest ON rules_in_force (node, client_id, id);

-- Daemons that share this database and are at work: each gives a sign of life every few seconds, and takes its row away
-- when it ends in good order.
CREATE TABLE nodes (
    node          TEXT    PRIMARY KEY,   -- name of the daemon, store.node
    seen_at_ms    INTEGER NOT NULL       -- its last sign of life
) STRICT;

-- What each daemon goes by at this moment. Replaced as a whole whenever its rules change.
CREATE TABLE node_rules (
    node          TEXT    NOT NULL,      -- name of the daemon
    client        TEXT    NOT NULL,      -- code of a client with rules of its own, entered or not; '' for every other
    files_sha256  TEXT    NOT NULL REFERENCES rule_sets(sha256), -- what its own files come to
    sha256        TEXT    NOT NULL REFERENCES rule_sets(sha256), -- what it decides by: stricter while another daemon's files differ
    source        TEXT    NOT NULL,      -- the files it came from
    PRIMARY KEY (node, client)
) STRICT, WITHOUT ROWID;
