-- Keeps a table's updated_at true.  A table that has this column (timestamptz NOT NULL DEFAULT
-- now()) gets:
--
--     CREATE TRIGGER set_updated_at BEFORE UPDATE ON things
--         FOR EACH ROW EXECUTE FUNCTION set_updated_at();

CREATE FUNCTION set_updated_at() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END;
$$;
