"""What a pipeline must make of its input, as DuckDB SQL: the rules of bronze, the verdict of each silver row, the winner of each key.

This is written from the promises, not from the code it checks, and shares nothing with it.
"""
from dataclasses import dataclass, field

# A delete and an upsert of the same key at the same instant: the delete wins ("delete before upsert").
DELETE_WINS_A_TIE = True

# Why a workspace's name is refused: control characters, white space at an end, relative paths, names kept for the platform.
REFUSED_NAME = r"\p{Cc}|^\p{Z}|\p{Z}$|^__|^\.{1,2}$"

DIGITS, ZONE = "[+-]?[0-9]+", "(Z|[+-][0-9]{2}:?[0-9]{2})?"
DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
# Type of the ontology -> (the text it accepts, DuckDB's type). DuckDB casts more than a pipeline may, hence the first.
TYPES = {
    "string": (None, "VARCHAR"),
    "integer": (DIGITS, "INTEGER"),
    "long": (DIGITS, "BIGINT"),
    "double": (r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", "DOUBLE"),
    "decimal": (r"[+-]?[0-9]+(\.[0-9]+)?", "DECIMAL"),
    "boolean": ("(?i)true|false", "BOOLEAN"),
    "date": (DAY, "DATE"),
    "timestamp": (DAY + "([T ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?" + ZONE + ")?", "TIMESTAMPTZ"),
}


@dataclass(frozen=True)
class Column:
    """An output column: name, type of the ontology, the SQL over input columns that fills it."""

    name: str
    type: str
    source: str
    required: bool = False

    def cast(self) -> str:
        """The SQL of the typed value, null when the text does not fit the type."""
        pattern, target = TYPES[self.type.split("(")[0]]
        if pattern is None:
            return self.source
        target += self.type[len("decimal") :] if target == "DECIMAL" else ""
        return f"CASE WHEN regexp_full_match({self.source}, '{pattern}') THEN try_cast({self.source} AS {target}) END"


@dataclass(frozen=True)
class Bronze:
    """A bronze table: where its files are below the data folder, their format and leaf columns."""

    files: str
    form: str
    columns: list[str]
    workspace: str = "workspace_id"


@dataclass(frozen=True)
class Silver:
    """A silver table. `where` and `delete_when` speak of input columns, `expect` (name -> (SQL, otherwise)) of output columns."""

    source: str
    columns: list[Column]
    key: list[str]
    sequence_by: str
    where: str = "true"
    delete_when: str = "false"
    expect: dict[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Spec:
    """A pipeline: bronze and silver tables, and gold as one query over `silver_<name>` for all workspaces at once."""

    bronze: dict[str, Bronze]
    silver: dict[str, Silver]
    gold: dict[str, str]


def bronze_sql(name: str, table: Bronze) -> list[str]:
    """`bronze_<name>` and `bronze_<name>_quarantine` from `raw_<name>`."""
    workspace = f'"{table.workspace}"'
    named = f"{workspace} IS NOT NULL AND {workspace} <> '' AND length({workspace}) <= 200 AND NOT regexp_matches({workspace}, '{REFUSED_NAME}')"
    add = "" if table.workspace == "workspace_id" else f", {workspace} AS workspace_id"
    replace = "REPLACE ('__unassigned__' AS workspace_id)" if table.workspace == "workspace_id" else ""
    other = "" if table.workspace == "workspace_id" else ", '__unassigned__' AS workspace_id"
    return [
        f"CREATE TABLE bronze_{name} AS SELECT *{add} FROM raw_{name} WHERE {named}",
        f"CREATE TABLE bronze_{name}_quarantine AS SELECT * {replace}{other} FROM raw_{name} WHERE ({named}) IS NOT TRUE",
    ]


def verdict_sql(table: Silver) -> str:
    """The fate of one row before keys are compared; the first rule that speaks decides."""
    by_name = {column.name: column for column in table.columns}
    misfit = lambda c: f'(_text_{c.name} IS NOT NULL AND "{c.name}" IS NULL)'
    absent = lambda name: f'"{name}" IS NULL'
    named = list(dict.fromkeys([*table.key, table.sequence_by]))
    unfit = [misfit(c) for c in table.columns] + [absent(c.name) for c in table.columns if c.required or c.name in table.key]
    failing = lambda what: " OR ".join([f"({sql}) IS NOT TRUE" for sql, otherwise in table.expect.values() if otherwise == what] or ["false"])
    return f"""CASE WHEN _broken THEN 'quarantined'
        WHEN _where IS NOT TRUE THEN 'dropped'
        WHEN _delete IS TRUE THEN CASE WHEN {' OR '.join(absent(by_name[n].name) for n in named)} THEN 'quarantined' ELSE 'delete' END
        WHEN {' OR '.join(unfit)} THEN 'quarantined'
        WHEN {failing('quarantine')} THEN 'quarantined'
        WHEN {failing('drop')} THEN 'dropped'
        ELSE 'upsert' END"""


def reached_expectations_sql(table: Silver) -> str:
    """Whether a row's expectations are looked at: it is whole, passes `where`, is no delete, and every value fits its column."""
    bare = Silver(table.source, table.columns, table.key, table.sequence_by, table.where, table.delete_when)
    return f"({verdict_sql(bare)}) = 'upsert'"


def silver_sql(name: str, table: Silver) -> list[str]:
    """`typed_<name>`, `judged_<name>` (each input row with `_fate`), `silver_<name>` and `silver_<name>_quarantine`."""
    values = ", ".join(f'{c.cast()} AS "{c.name}", CAST({c.source} AS VARCHAR) AS _text_{c.name}' for c in table.columns)
    key = ", ".join(f'"{name}"' for name in ["workspace_id", *table.key])
    first = "DESC" if DELETE_WINS_A_TIE else "ASC"
    order = [f'"{table.sequence_by}" DESC NULLS LAST', f"(_verdict = 'delete') {first}"] + [f'"{c.name}" DESC NULLS LAST' for c in table.columns]
    columns = ", ".join(f'"{name}"' for name in ["workspace_id", *(c.name for c in table.columns)])
    return [
        f"CREATE TABLE typed_{name} AS SELECT workspace_id, _broken, _file, _record, ({table.where}) AS _where, ({table.delete_when}) AS _delete, {values} FROM bronze_{table.source}",
        f"CREATE TABLE verdict_{name} AS SELECT *, {verdict_sql(table)} AS _verdict FROM typed_{name}",
        f"""CREATE TABLE judged_{name} AS
            SELECT *, _verdict AS _fate FROM verdict_{name} WHERE _verdict IN ('quarantined', 'dropped')
            UNION ALL SELECT * EXCLUDE (_rank), CASE WHEN _rank > 1 THEN 'superseded' WHEN _verdict = 'delete' THEN 'deleted' ELSE 'written' END AS _fate
            FROM (SELECT *, row_number() OVER (PARTITION BY {key} ORDER BY {', '.join(order)}) AS _rank FROM verdict_{name} WHERE _verdict IN ('upsert', 'delete'))""",
        f"CREATE TABLE silver_{name} AS SELECT {columns} FROM judged_{name} WHERE _fate = 'written'",
        f"CREATE TABLE silver_{name}_quarantine AS SELECT {columns} FROM judged_{name} WHERE _fate = 'quarantined'",
    ]
