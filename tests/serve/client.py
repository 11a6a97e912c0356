"""What a program does that talks to `siltstone serve` through psycopg: parameters there, values of their types back.

    PGPASSWORD=... client.py PORT

prints `fine`, or fails.
"""

import datetime
import decimal
import sys
import uuid

import psycopg

UTC = datetime.timezone.utc


def main(port):
    where = f"host=127.0.0.1 port={port} user=tester dbname=siltstone"
    with psycopg.connect(where) as connection:
        parameters(connection)
        values(connection)
        session(connection)
    with psycopg.connect(where, autocommit=True) as connection:
        rows(connection)
    copies(where)
    print("fine")


def parameters(connection):
    """Each parameter comes back as it was sent, in text and in binary."""
    for value in [
        5, -5, 2**40, -(2**62), 1.5, -1e-300, 1e300, "it's", "$1 -- \\", "", True, False,
        datetime.date(2026, 1, 2), datetime.time(1, 2, 3),
        datetime.datetime(2026, 1, 2, 3, 4, 5, 678), datetime.datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
        decimal.Decimal("12.50"), decimal.Decimal("-0.001"), decimal.Decimal("12345678901234567890.125"),
        b"\x00\xff", None,
    ]:
        for holder in ["%s", "%b", "%t"]:
            for binary in [False, True]:
                got = connection.execute(f"SELECT {holder} AS x", [value], binary=binary).fetchone()[0]
                assert got == value and type(got) is type(value), (value, holder, binary, got)
    moment = datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.timezone(datetime.timedelta(hours=5, minutes=30)))
    assert connection.execute("SELECT %s", [moment]).fetchone()[0] == moment
    for statement, given, expected in [
        ("SELECT count(*) > 0 FROM orders WHERE total > %s AND status = %s AND createdat > %s",
         [100, "paid", datetime.datetime(2020, 1, 1, tzinfo=UTC)], True),
        ("SELECT -%s, 5 - %s", [-3, -2], 3),
        ("SELECT count(*) FROM (SELECT * FROM orders LIMIT %s OFFSET %s)", [3, 1], 3),
        ("SELECT date_add('day', %s, DATE '2026-01-01')", [3], datetime.date(2026, 1, 4)),
        # The server finds the type of what is sent as text without one.
        ("SELECT count(*) FROM (SELECT 9 AS n) WHERE n < %s", ["10"], 1),
        ("SELECT CAST(%s AS varchar)", [7], "7"),
    ]:
        got = connection.execute(statement, given).fetchone()[0]
        assert got == expected, (statement, got)
    arrays(connection)
    # The same statement again and again is prepared after some times.
    for at_least in range(8):
        connection.execute("SELECT count(*) FROM orders WHERE total > %s", [at_least]).fetchone()


def arrays(connection):
    """Arrays come back, too, and are what a value may be one of."""
    for value in [
        [5, -5], [2**40, None], [1.5, -1e300], ["it's", 'a "b"', "c\\d", "{e,f}", "", "NULL", None, " g "], [True, False],
        [datetime.date(2026, 1, 2)], [datetime.datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)],
    ]:
        # Strings go without a type.
        cast = "::text[]" if isinstance(value[0], str) else ""
        for holder in ["%s", "%b", "%t"]:
            got = connection.execute(f"SELECT {holder}{cast} AS x", [value]).fetchone()[0]
            assert got == value, (value, holder, got)
    for statement, given, expected in [
        ("SELECT 2 = ANY(%s), 3 = ANY(%s)", [[1, 2], [1, 2]], (True, False)),
        ("SELECT 'b' = ANY(%s::text[]), cardinality(%s::int[])", [["a", "b"], [1, 2, 3]], (True, 3)),
        ("SELECT count(*) > 0 FROM orders WHERE status = ANY(%s)", [["paid", "it's"]], (True,)),
        ("SELECT 1 = ANY(%s::bigint[]), %s::int + 1", [[], 41], (False, 42)),
        ("SELECT count(*) FROM orders WHERE status = ANY(%s)", [[]], (0,)),
        ("SELECT %s", [uuid.UUID(int=5)], ("00000000-0000-0000-0000-000000000005",)),
    ]:
        got = connection.execute(statement, given).fetchone()
        assert got == expected, (statement, got)


def values(connection):
    """Values of all types, in text and in binary."""
    for statement, expected in [
        ("CAST(1 AS smallint), CAST(2 AS integer), 3, CAST(1.5 AS real), 0.1e0 + 0.2, 0.1 + 0.2",
         (1, 2, 3, 1.5, 0.1 + 0.2, decimal.Decimal("0.3"))),
        ("CAST('12.50' AS decimal(10, 2))", (decimal.Decimal("12.50"),)),
        ("CAST('-99999999999999999999999999999999999.125' AS decimal(38, 3))",
         (decimal.Decimal("-99999999999999999999999999999999999.125"),)),
        ("true, 'ü', '', NULL, CAST(NULL AS bigint)", (True, "ü", "", None, None)),
        ("DATE '2026-01-02', TIMESTAMP '2026-01-02 03:04:05.678'",
         (datetime.date(2026, 1, 2), datetime.datetime(2026, 1, 2, 3, 4, 5, 678000))),
        ("TIMESTAMP '2026-01-02 03:04:05 UTC'", (datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),)),
        ("ARRAY[1, NULL], ARRAY['a b', 'd\"e,{}'], ARRAY[1.5], ARRAY[true], ARRAY[DATE '2026-01-02']",
         ([1, None], ["a b", "d\"e,{}"], [1.5], [True], [datetime.date(2026, 1, 2)])),
        ("MAP(ARRAY['a'], ARRAY[1]), CAST(ROW(1, 'x') AS ROW(a bigint, b varchar)), ARRAY[ARRAY[1]]",
         ({"a": 1}, {"a": 1, "b": "x"}, [[1]])),
    ]:
        for binary in [False, True]:
            got = connection.execute(f"SELECT {statement}", binary=binary).fetchone()
            assert got == expected, (statement, binary, got)
    row = connection.execute("SELECT customer, lines, createdat FROM orders ORDER BY order_id LIMIT 1").fetchone()
    assert isinstance(row[0], dict) and isinstance(row[1], list) and row[2].tzinfo, row


def session(connection):
    """Transactions, settings and errors."""
    assert connection.execute("SHOW server_version").fetchone()[0].startswith("15.0 (Siltstone ")
    connection.execute("SET application_name = 'test'")
    assert connection.execute("SHOW application_name").fetchone() == ("test",)
    connection.commit()
    for statement, given, state in [
        ("SELECT nope FROM orders", None, "42703"),
        ("SELECT * FROM nope WHERE x = %s", [1], "42P01"),
        ("DELETE FROM lake.orders WHERE total > %s", [1], "25006"),
        ("SELECT %s", [[[1], [2]]], "22P02"),
    ]:
        try:
            connection.execute(statement, given)
            raise AssertionError(statement)
        except psycopg.Error as error:
            assert error.sqlstate == state, (statement, error.sqlstate, error)
        try:
            connection.execute("SELECT 1")
            raise AssertionError("the transaction has failed")
        except psycopg.Error as error:
            assert error.sqlstate == "25P02", error
        connection.rollback()
        assert connection.execute("SELECT 1").fetchone() == (1,)


def rows(connection):
    """Many rows, some of them, and several statements on their way."""
    statement = "SELECT a.order_id, b.total FROM raw.orders a, raw.orders b"
    orders = connection.execute("SELECT count(*) FROM raw.orders").fetchone()[0]
    assert len(connection.execute(statement).fetchall()) == orders * orders
    with connection.cursor() as cursor:
        for at, _ in enumerate(cursor.stream(statement)):
            if at == 10:
                break
    assert connection.execute("SELECT 1").fetchone() == (1,)
    with connection.pipeline():
        answers = [connection.execute("SELECT %s", [number]) for number in range(5)]
        assert [answer.fetchone()[0] for answer in answers] == list(range(5))
    assert connection.execute("SELECT 1").fetchone() == (1,)
    small = connection.execute("SELECT cast(-5 AS tinyint), cast(7 AS tinyint)", binary=True)
    assert small.fetchone() == (-5, 7)


def copies(where):
    """Copies in both forms, and cursors on the server."""
    query = "SELECT order_id, total, createdat, shippedon FROM raw.orders ORDER BY order_id"
    with psycopg.connect(where) as connection:
        expected = connection.execute(query).fetchall()
        for form in ["TEXT", "BINARY"]:
            with connection.cursor().copy(f"COPY ({query}) TO STDOUT (FORMAT {form})") as copy:
                copy.set_types(["text", "float8", "timestamptz", "date"])
                assert list(copy.rows()) == expected, form
        with connection.cursor().copy("COPY (SELECT %s, NULL, count(*) FROM raw.orders) TO STDOUT", ["a"]) as copy:
            assert list(copy.rows()) == [("a", None, str(len(expected)))]
        for binary in [False, True]:
            with connection.cursor(name="some Name", binary=binary) as cursor:
                cursor.execute(query.replace("ORDER BY", "WHERE total > %s OR true ORDER BY"), [5])
                assert [column.name for column in cursor.description][:2] == ["order_id", "total"]
                assert [cursor.fetchone()] + cursor.fetchmany(2) == expected[:3]
                cursor.scroll(2)
                assert list(cursor) == expected[5:]
        with connection.cursor(name="held", withhold=True) as cursor:
            cursor.execute(query)
            connection.commit()
            assert cursor.fetchall() == expected


main(int(sys.argv[1]))
