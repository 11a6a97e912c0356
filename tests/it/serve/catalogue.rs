//! What clients ask the catalogue for: psql's commands, and queries as JDBC drivers and BI tools send them.

use super::{Server, has_psql};
use crate::support::{Ran, Roots};

/// What the JDBC driver asks for schemas, tables and columns.
const SCHEMAS: &str = "
    SELECT nspname AS TABLE_SCHEM, current_database() AS TABLE_CATALOG FROM pg_catalog.pg_namespace
    WHERE nspname <> 'pg_toast'
      AND (nspname !~ '^pg_temp_' OR nspname = (pg_catalog.current_schemas(true))[1])
      AND (nspname !~ '^pg_toast_temp_'
           OR nspname = replace((pg_catalog.current_schemas(true))[1], 'pg_temp_', 'pg_toast_temp_'))
    ORDER BY TABLE_SCHEM";
const TABLES: &str = "
    SELECT current_database() AS TABLE_CAT, n.nspname AS TABLE_SCHEM, c.relname AS TABLE_NAME,
      CASE n.nspname ~ '^pg_' OR n.nspname = 'information_schema'
        WHEN true THEN CASE WHEN n.nspname = 'pg_catalog' OR n.nspname = 'information_schema'
            THEN CASE c.relkind WHEN 'r' THEN 'SYSTEM TABLE' WHEN 'v' THEN 'SYSTEM VIEW' ELSE NULL END ELSE NULL END
        WHEN false THEN CASE c.relkind WHEN 'r' THEN 'TABLE' WHEN 'v' THEN 'VIEW' ELSE NULL END
        ELSE NULL END AS TABLE_TYPE,
      d.description AS REMARKS
    FROM pg_catalog.pg_namespace n, pg_catalog.pg_class c
      LEFT JOIN pg_catalog.pg_description d
        ON (c.oid = d.objoid AND d.objsubid = 0 AND d.classoid = 'pg_class'::regclass)
    WHERE c.relnamespace = n.oid AND n.nspname LIKE '%' AND c.relname LIKE 'orders'
      AND (false OR (c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'))
    ORDER BY TABLE_TYPE, TABLE_SCHEM, TABLE_NAME";
const COLUMNS: &str = "
    SELECT c.attname, c.atttypid, c.attnotnull, c.attnum FROM (
      SELECT n.nspname, c.relname, a.attname, a.atttypid, a.attnotnull OR (t.typtype = 'd' AND t.typnotnull) AS attnotnull,
        a.atttypmod, a.attlen, t.typtypmod, row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum) AS attnum,
        nullif(a.attidentity, '') AS attidentity, nullif(a.attgenerated, '') AS attgenerated,
        pg_catalog.pg_get_expr(def.adbin, def.adrelid) AS adsrc, dsc.description, t.typbasetype, t.typtype
      FROM pg_catalog.pg_namespace n
        JOIN pg_catalog.pg_class c ON (c.relnamespace = n.oid)
        JOIN pg_catalog.pg_attribute a ON (a.attrelid = c.oid)
        JOIN pg_catalog.pg_type t ON (a.atttypid = t.oid)
        LEFT JOIN pg_catalog.pg_attrdef def ON (a.attrelid = def.adrelid AND a.attnum = def.adnum)
        LEFT JOIN pg_catalog.pg_description dsc ON (c.oid = dsc.objoid AND a.attnum = dsc.objsubid)
        LEFT JOIN pg_catalog.pg_class dc ON (dc.oid = dsc.classoid AND dc.relname = 'pg_class')
        LEFT JOIN pg_catalog.pg_namespace dn ON (dc.relnamespace = dn.oid AND dn.nspname = 'pg_catalog')
      WHERE c.relkind IN ('r', 'p', 'v', 'f', 'm') AND a.attnum > 0 AND NOT a.attisdropped
        AND n.nspname LIKE 'public' AND c.relname LIKE 'orders') c
    WHERE true ORDER BY nspname, c.relname, attnum";
const PRIMARY_KEYS: &str = "
    SELECT result.TABLE_NAME, result.COLUMN_NAME, result.KEY_SEQ, result.PK_NAME FROM (
      SELECT n.nspname AS TABLE_SCHEM, ct.relname AS TABLE_NAME, a.attname AS COLUMN_NAME,
        (information_schema._pg_expandarray(i.indkey)).n AS KEY_SEQ, ci.relname AS PK_NAME,
        information_schema._pg_expandarray(i.indkey) AS KEYS, a.attnum AS A_ATTNUM
      FROM pg_catalog.pg_class ct
        JOIN pg_catalog.pg_attribute a ON (ct.oid = a.attrelid)
        JOIN pg_catalog.pg_namespace n ON (ct.relnamespace = n.oid)
        JOIN pg_catalog.pg_index i ON (a.attrelid = i.indrelid)
        JOIN pg_catalog.pg_class ci ON (ci.oid = i.indexrelid)
      WHERE true AND n.nspname = 'public' AND ct.relname = 'orders' AND i.indisprimary) result
    WHERE result.A_ATTNUM = (result.KEYS).x
    ORDER BY result.table_name, result.pk_name, result.key_seq";

/// What SQLAlchemy asks when it reflects a table, of version 2.1.
const REFLECTED_SCHEMAS: &str = "
    SELECT pg_catalog.pg_namespace.nspname FROM pg_catalog.pg_namespace
    WHERE (pg_catalog.pg_namespace.nspname NOT LIKE 'pg/_' || '%' ESCAPE '/') ORDER BY pg_catalog.pg_namespace.nspname";
const REFLECTED_COLUMNS: &str = "
    SELECT pg_catalog.pg_attribute.attname AS name,
      pg_catalog.format_type(pg_catalog.pg_attribute.atttypid, pg_catalog.pg_attribute.atttypmod) AS format_type,
      CASE WHEN pg_catalog.pg_attribute.atthasdef THEN (
        SELECT pg_catalog.pg_get_expr(pg_catalog.pg_attrdef.adbin, pg_catalog.pg_attrdef.adrelid) AS pg_get_expr_1
        FROM pg_catalog.pg_attrdef
        WHERE pg_catalog.pg_attribute.atthasdef AND pg_catalog.pg_attrdef.adrelid = pg_catalog.pg_attribute.attrelid
          AND pg_catalog.pg_attrdef.adnum = pg_catalog.pg_attribute.attnum) ELSE NULL END AS \"default\",
      pg_catalog.pg_attribute.attnotnull AS not_null,
      CASE WHEN (pg_catalog.pg_attribute.attidentity != '') THEN (
        SELECT json_build_object('always', pg_catalog.pg_attribute.attidentity = 'a',
          'start', pg_catalog.pg_sequence.seqstart) AS json_build_object_1
        FROM pg_catalog.pg_sequence
        WHERE pg_catalog.pg_attribute.attidentity != '' AND pg_catalog.pg_sequence.seqrelid = CAST(CAST(
          pg_catalog.pg_get_serial_sequence(CAST(CAST(pg_catalog.pg_attribute.attrelid AS REGCLASS) AS TEXT),
            pg_catalog.pg_attribute.attname) AS REGCLASS) AS OID)) ELSE NULL END AS identity_options,
      CASE WHEN (pg_catalog.pg_attribute.attcollation != 0 AND (
        SELECT pg_catalog.pg_type.typcollation FROM pg_catalog.pg_type
        WHERE pg_catalog.pg_type.oid = pg_catalog.pg_attribute.atttypid) != pg_catalog.pg_attribute.attcollation) THEN (
          SELECT json_build_object('name', pg_catalog.pg_collation.collname) AS json_build_object_9
          FROM pg_catalog.pg_collation
            JOIN pg_catalog.pg_namespace ON pg_catalog.pg_namespace.oid = pg_catalog.pg_collation.collnamespace
          WHERE pg_catalog.pg_collation.oid = pg_catalog.pg_attribute.attcollation) ELSE NULL END AS collation
    FROM pg_catalog.pg_class
      LEFT OUTER JOIN pg_catalog.pg_attribute ON pg_catalog.pg_class.oid = pg_catalog.pg_attribute.attrelid
        AND pg_catalog.pg_attribute.attnum > 0 AND NOT pg_catalog.pg_attribute.attisdropped
      JOIN pg_catalog.pg_namespace ON pg_catalog.pg_namespace.oid = pg_catalog.pg_class.relnamespace
    WHERE pg_catalog.pg_class.relkind = ANY (ARRAY['r', 'p', 'f', 'v', 'm'])
      AND pg_catalog.pg_namespace.nspname = 'raw' AND pg_catalog.pg_class.relname IN ('orders')
    ORDER BY pg_catalog.pg_class.relname, pg_catalog.pg_attribute.attnum";
const REFLECTED_KEYS: &str = "
    SELECT con.conrelid, con.conname, unnest(con.conkey) AS attnum, generate_subscripts(con.conkey, 1) AS ord
    FROM pg_catalog.pg_constraint AS con WHERE con.contype = 'p'";

/// What asyncpg asks for types that it does not know, from its begin to where their numbers are.
const UNKNOWN_TYPES: &str = "
    WITH RECURSIVE typeinfo_tree(oid, ns, name, kind, basetype, elemtype, depth) AS (
      SELECT ti.oid, ti.ns, ti.name FROM pg_catalog.pg_type AS ti WHERE ti.oid = any(ARRAY[1016, 1022])
      UNION ALL SELECT 1) SELECT DISTINCT * FROM typeinfo_tree";

/// What DBeaver asks, beside that of its driver.
const OTHERS: [&str; 9] = [
    "SELECT current_schema(), session_user",
    "SELECT n.oid, n.*, d.description FROM pg_catalog.pg_namespace n LEFT OUTER JOIN pg_catalog.pg_description d
       ON d.objoid = n.oid AND d.objsubid = 0 AND d.classoid = 'pg_namespace'::regclass ORDER BY nspname",
    "SELECT db.oid, db.* FROM pg_catalog.pg_database db WHERE datname = 'siltstone'",
    "SELECT * FROM pg_catalog.pg_settings WHERE name = 'standard_conforming_strings'",
    "SELECT c.oid, c.*, d.description, pg_catalog.pg_get_expr(c.relpartbound, c.oid) AS partition_expr,
       pg_catalog.pg_get_partkeydef(c.oid) AS partition_key FROM pg_catalog.pg_class c
       LEFT OUTER JOIN pg_catalog.pg_description d
         ON d.objoid = c.oid AND d.objsubid = 0 AND d.classoid = 'pg_class'::regclass
       WHERE c.relnamespace = 2200 AND c.relkind NOT IN ('i', 'I', 'c')",
    "SELECT typinput = 'pg_catalog.array_in'::regproc AS is_array, typtype, typname, pg_type.oid FROM pg_catalog.pg_type
       WHERE pg_type.oid = 1009 ORDER BY pg_type.oid DESC",
    "SELECT n.nspname = ANY(current_schemas(true)), n.nspname, t.typname FROM pg_catalog.pg_type t
       JOIN pg_catalog.pg_namespace n ON t.typnamespace = n.oid WHERE t.oid = 114",
    "SELECT schema_name FROM information_schema.schemata WHERE schema_name = 'public'",
    "SHOW search_path",
];

#[test]
fn psql_shows_tables_and_their_columns() {
    if !has_psql() {
        return;
    }
    let roots = Roots::of_testdata_half_compacted();
    let server = Server::start(&roots, &[]);
    let shown = |command: &str| Ran::of(&mut server.psql(&["-At", "-c", command])).ok();
    let public = "public|feed|table|siltstone\npublic|orders|table|siltstone\npublic|readings|table|siltstone\n";
    assert_eq!(shown("\\d"), public);
    assert_eq!(shown("\\dt"), public);
    assert_eq!(shown("\\dt public.o*"), "public|orders|table|siltstone\n");
    for schema in ["lake", "raw", "quarantine"] {
        assert_eq!(shown(&format!("\\dt {schema}.*")), public.replace("public", schema));
    }
    let columns = "order_id|text|||\n\
                   createdat|timestamp with time zone|||\n\
                   customer|json|||\n\
                   lines|json|||\n\
                   total|double precision|||\n\
                   currency|text|||\n\
                   status|text|||\n\
                   coupon|text|||\n\
                   shippedon|date|||\n";
    assert_eq!(shown("\\d raw.orders"), columns);
    for command in ["\\d orders", "\\d lake.orders"] {
        assert!(shown(command).starts_with(columns), "{}", shown(command));
    }
    assert!(shown("\\d+ orders").contains("total|double precision"));
    assert!(shown("\\dn").contains("lake|siltstone\npublic|siltstone"));
    assert!(shown("\\l").contains("siltstone|siltstone|UTF"));
    for command in ["\\dv", "\\df", "\\di", "\\ds", "\\dx", "\\dn+", "\\dt+", "\\l+", "\\conninfo", "\\encoding"] {
        let ran = Ran::of(&mut server.psql(&["-At", "-c", command]));
        assert!(ran.code == 0 && !ran.stderr.contains("ERROR"), "{command}: {}", ran.stderr);
    }
}

#[test]
fn drivers_find_schemas_tables_and_columns() {
    if !has_psql() {
        return;
    }
    let roots = Roots::of_testdata_half_compacted();
    let server = Server::start(&roots, &[]);
    let schemas = server.rows(SCHEMAS);
    for schema in ["lake", "public", "quarantine", "raw"] {
        assert!(schemas.contains(&format!("{schema}|siltstone\n")), "{schemas}");
    }
    let table = |schema: &str| format!("siltstone|{schema}|orders|TABLE|\n");
    assert_eq!(server.rows(TABLES), ["lake", "public", "quarantine", "raw"].map(table).concat());
    let columns = server.rows(COLUMNS);
    assert!(columns.starts_with("order_id|25|f|1\ncreatedat|1184|f|2\ncustomer|114|f|3\nlines|114|f|4\n"), "{columns}");
    assert_eq!(server.rows(PRIMARY_KEYS), "");
    let schemas = "information_schema\nlake\npublic\nquarantine\nraw\n";
    assert_eq!(server.rows(REFLECTED_SCHEMAS), schemas);
    let columns = server.rows(REFLECTED_COLUMNS);
    assert!(columns.starts_with("order_id|text||f||\ncreatedat|timestamp with time zone||f||\n"), "{columns}");
    assert_eq!(server.rows(REFLECTED_KEYS), "");
    let types = server.rows(UNKNOWN_TYPES);
    let mut types: Vec<&str> = types.lines().collect();
    types.sort_unstable();
    assert_eq!(types, ["1016|pg_catalog|_int8|b||20|,||||0|||", "1022|pg_catalog|_float8|b||701|,||||0|||"]);
    for statement in OTHERS {
        assert!(!server.rows(statement).is_empty(), "{statement}");
    }
    let id = server.rows("SELECT 'lake.orders'::regclass::oid");
    assert!(id.trim().parse::<u32>().is_ok(), "{id}");
}

#[test]
fn information_schema_names_types_as_postgres_does() {
    if !has_psql() {
        return;
    }
    let roots = Roots::of_testdata_half_compacted();
    let server = Server::start(&roots, &[]);
    let statement = "SELECT table_schema || '.' || table_name FROM information_schema.tables \
                     WHERE table_name = 'orders' ORDER BY 1";
    assert_eq!(server.rows(statement), "lake.orders\npublic.orders\nquarantine.orders\nraw.orders\n");
    let statement = "SELECT column_name, data_type, udt_name, numeric_precision FROM information_schema.columns \
                     WHERE table_schema = 'lake' AND table_name = 'readings' ORDER BY ordinal_position";
    let columns = server.rows(statement);
    for column in ["tags|ARRAY|_text|", "position|json|json|", "firmware|text|text|"] {
        assert!(columns.lines().any(|line| line == column), "{columns}");
    }
}

#[test]
fn a_table_that_cannot_be_read_hides_no_other() {
    if !has_psql() {
        return;
    }
    let roots = Roots::of_testdata_half_compacted();
    let log = roots.lake.join("orders/_delta_log");
    std::fs::remove_dir_all(&log).unwrap();
    std::fs::create_dir(&log).unwrap();
    std::fs::write(log.join("00000000000000000000.json"), "nonsense").unwrap();
    let server = Server::start(&roots, &[]);
    let shown = Ran::of(&mut server.psql(&["-At", "-c", "\\dt lake.*"])).ok();
    assert_eq!(shown, "lake|feed|table|siltstone\nlake|orders|table|siltstone\nlake|readings|table|siltstone\n");
    assert!(server.rows("SELECT count(*) FROM lake.feed").trim().parse::<usize>().unwrap() > 0);
}

#[test]
fn views_that_have_nothing_to_show_are_there() {
    if !has_psql() {
        return;
    }
    let roots = Roots::of_testdata();
    let server = Server::start(&roots, &[]);
    assert_eq!(server.rows("SELECT usename FROM pg_user"), "siltstone\n");
    assert_eq!(server.rows("SELECT character_set_name FROM information_schema.character_sets"), "UTF8\n");
    for view in ["pg_catalog.pg_stat_activity", "pg_locks", "pg_cursors", "information_schema.routines"] {
        assert_eq!(server.rows(&format!("SELECT count(*) FROM {view}")), "0\n", "{view}");
    }
}
