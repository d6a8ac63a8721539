"""What it takes to fill Qdrant and Neo4j: `lake run` beside the official Python clients, with the same points, nodes and edges, in one run.

    python bench/sinks.py --lake target/release/lake --pipeline tests/pipelines/packages.yaml --runs 3

Qdrant and Neo4j are those of `QDRANT_URL`, `NEO4J_URI`, `NEO4J_USER` and `NEO4J_PASSWORD`; the pipeline's own variables must be set too. A lake is
made anew for each run, so that `lake` embeds, writes its tables and mirrors them; of that, the time of each sink is what its report says. The clients read the
finished tables and upload them: `upload_points` in batches of 256, and `UNWIND ... MERGE` in batches of 1,000 in key order, under a constraint, as their
manuals advise. Needs `bench/sinks-requirements.txt`.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

import neo4j
from deltalake import DeltaTable
from qdrant_client import QdrantClient, models

POINTS = 256
ROWS = 1_000


def table(lake: Path, name: str) -> list[dict]:
    found = DeltaTable(str(lake / name))
    return found.to_pyarrow_table().to_pylist()


def by_lake(binary: str, pipeline: str, lake: Path) -> dict[str, tuple[float, int]]:
    environment = os.environ | {"LAKE_URI": str(lake)}
    done = subprocess.run([binary, "run", pipeline, "--output", "json"], env=environment, capture_output=True, text=True)
    report = json.loads(done.stdout)
    if done.returncode:
        raise SystemExit(f"lake failed: {report['sinks']} {done.stderr}")
    return {s["sink"].split(".")[0]: (s["seconds"], s["upserted"]) for s in report["sinks"]}


def by_qdrant_client(lake: Path, name: str) -> tuple[float, int]:
    rows = table(lake, f"vectors/{name}")
    url = os.environ["QDRANT_URL"]
    host, port = url.split("://")[1].split(":")
    client = QdrantClient(host=host, grpc_port=int(port), prefer_grpc=True, check_compatibility=False, timeout=60)
    collection = f"client-{uuid.uuid4().hex[:8]}"
    known = {"point_id", "embedding", "hash", "chunks"}
    clock = time.perf_counter()
    client.create_collection(collection, models.VectorParams(size=len(rows[0]["embedding"]), distance=models.Distance.COSINE))
    client.create_payload_index(collection, "workspace_id", models.KeywordIndexParams(type="keyword", is_tenant=True))
    points = (
        models.PointStruct(id=r["point_id"], vector=r["embedding"], payload={k: v for k, v in r.items() if k not in known})
        for r in rows
    )
    client.upload_points(collection, points, batch_size=POINTS, wait=True)
    seconds = time.perf_counter() - clock
    assert client.count(collection, exact=True).count == len(rows)
    client.delete_collection(collection)
    return seconds, len(rows)


def by_neo4j_driver(lake: Path, name: str) -> tuple[float, int]:
    nodes, edges = table(lake, f"graph/{name}_nodes"), table(lake, f"graph/{name}_edges")
    at = (os.environ.get("NEO4J_USER", "neo4j"), os.environ["NEO4J_PASSWORD"])
    graph = f"client-{uuid.uuid4().hex[:8]}"
    with neo4j.GraphDatabase.driver(os.environ["NEO4J_URI"], auth=at) as driver, driver.session() as session:
        clock = time.perf_counter()
        labels = sorted({n["label"] for n in nodes})
        for label in labels:
            session.run(
                f"CREATE CONSTRAINT client_{label} IF NOT EXISTS FOR (n:`{label}`) REQUIRE (n._graph, n.workspace_id, n.id) IS UNIQUE"
            ).consume()
        for label in labels:
            rows = [
                {"w": n["workspace_id"], "id": n["id"], "p": json.loads(n["properties"]) | {"_hash": n["hash"]}}
                for n in nodes
                if n["label"] == label
            ]
            for at in range(0, len(rows), ROWS):
                session.run(
                    f"UNWIND $rows AS r MERGE (n:`{label}` {{_graph: $g, workspace_id: r.w, id: r.id}}) SET n += r.p",
                    rows=rows[at : at + ROWS],
                    g=graph,
                ).consume()
        for kind, start, end in sorted({(e["kind"], e["from_label"], e["to_label"]) for e in edges}):
            rows = [
                {"w": e["workspace_id"], "a": e["from_id"], "b": e["to_id"], "p": json.loads(e["properties"]) | {"_hash": e["hash"]}}
                for e in edges
                if (e["kind"], e["from_label"], e["to_label"]) == (kind, start, end)
            ]
            for at in range(0, len(rows), ROWS):
                session.run(
                    f"UNWIND $rows AS r MATCH (a:`{start}` {{_graph: $g, workspace_id: r.w, id: r.a}}) "
                    f"MATCH (b:`{end}` {{_graph: $g, workspace_id: r.w, id: r.b}}) "
                    f"MERGE (a)-[x:`{kind}` {{_graph: $g, workspace_id: r.w}}]->(b) SET x += r.p",
                    rows=rows[at : at + ROWS],
                    g=graph,
                ).consume()
        seconds = time.perf_counter() - clock
        found = session.run("MATCH (n {_graph: $g}) RETURN count(n) AS n", g=graph).single()["n"]
        assert found == len(nodes), (found, len(nodes))
        clear(session, graph)
    return seconds, len(nodes) + len(edges)


def clear(session: neo4j.Session, graph: str) -> None:
    session.run("MATCH (n {_graph: $g}) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 1000 ROWS", g=graph).consume()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lake", required=True, help="the binary")
    parser.add_argument("--pipeline", required=True)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    taken: dict[tuple[str, str], list[float]] = {}
    counts: dict[str, int] = {}
    for run in range(arguments.runs):
        with tempfile.TemporaryDirectory() as folder:
            lake = Path(folder) / "lake"
            os.environ["QDRANT_COLLECTION_PREFIX"] = f"run{run}{uuid.uuid4().hex[:6]}-"
            sinks = by_lake(arguments.lake, arguments.pipeline, lake)
            graph = next(p.name.removesuffix("_nodes") for p in (lake / "graph").iterdir() if p.name.endswith("_nodes"))
            vectors = next(p.name for p in (lake / "vectors").iterdir() if p.name != "embedding_cache")
            peers = {"vectors": by_qdrant_client(lake, vectors), "graph": by_neo4j_driver(lake, graph)}
            for sink, (seconds, count) in sinks.items():
                taken.setdefault((sink, "lake"), []).append(seconds)
                taken.setdefault((sink, "client"), []).append(peers[sink][0])
                counts[sink] = count
                assert peers[sink][1] == count, (sink, peers[sink][1], count)
            at = (os.environ.get("NEO4J_USER", "neo4j"), os.environ["NEO4J_PASSWORD"])
            with neo4j.GraphDatabase.driver(os.environ["NEO4J_URI"], auth=at) as driver, driver.session() as session:
                clear(session, graph)
    print(f"{'sink':10} {'rows':>8} {'lake s':>8} {'client s':>9} {'lake rows/s':>12} {'client rows/s':>14}")
    for sink, count in counts.items():
        own, other = statistics.median(taken[sink, "lake"]), statistics.median(taken[sink, "client"])
        print(f"{sink:10} {count:8} {own:8.2f} {other:9.2f} {count / own:12.0f} {count / other:14.0f}")


if __name__ == "__main__":
    main()
