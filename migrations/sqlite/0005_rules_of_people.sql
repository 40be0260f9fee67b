-- Rules go by who somebody is, not by what he is to a debt: a contact whose identity number the client gave is the person
-- with that number. Conventions as in 0001 and 0002.

-- The contacts that a person is, by the identity number.
CREATE INDEX contacts_identity ON contacts (identity_hash) WHERE identity_hash IS NOT NULL;
INSERT INTO persons (identity_hash, created_at_ms)
    SELECT t.identity_hash, MIN(t.created_at_ms) FROM contacts t
    WHERE t.identity_hash IS NOT NULL AND NOT EXISTS (SELECT 1 FROM persons p WHERE p.identity_hash = t.identity_hash)
    GROUP BY t.identity_hash;
