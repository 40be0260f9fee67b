-- What files say of money and how they are read. Conventions as in 0001 and 0002.

-- A balance holds what was paid until the day for which it is told: only later payments are taken off. Of cases that were
-- entered before it was asked for the day is not known, and every payment is taken off, as it was.
ALTER TABLE cases ADD COLUMN balance_on TEXT; -- day for which the client told the balance, YYYY-MM-DD; NULL: not known, or nobody told one

-- A version that was entered by mistake is withdrawn; the one before it counts again.
ALTER TABLE templates ADD COLUMN withdrawn_at_ms BIGINT; -- when it was withdrawn; NULL: it counts
