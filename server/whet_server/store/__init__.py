"""Tables, migrations and the one writer; in-memory twins beside the SQL ones."""
