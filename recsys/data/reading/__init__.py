"""Reading tables: files, cells, whole tables, and where they are broken."""
