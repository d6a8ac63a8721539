"""A Qdrant for tests: the real engine (`qdrant_edge`, one shard a collection) behind the real gRPC interface.

What the engine does not check before it applies a request, and the server does, is checked here. What a request acknowledges is on disk:
killed and started again with the same folder, it has everything. Each call is noted as a line of JSON in `calls.jsonl` of the folder.
"""

import argparse
import json
import math
import os
import shutil
import threading
import time
import traceback
import uuid
from concurrent import futures
from pathlib import Path
from urllib.parse import quote, unquote

import grpc
import numpy
import qdrant_edge as edge
from qdrant_client import grpc as q

MATCHES = {
    "keyword": edge.MatchValue,
    "integer": edge.MatchValue,
    # Python's own `True` would be taken for the number 1.
    "boolean": lambda m: edge.MatchValue(numpy.bool_(m)),
    "keywords": lambda m: edge.MatchAny(list(m.strings)),
    "integers": lambda m: edge.MatchAny(list(m.integers)),
    "except_keywords": lambda m: edge.MatchExcept(list(m.strings)),
    "except_integers": lambda m: edge.MatchExcept(list(m.integers)),
}

FIELD_TYPES = {
    q.FieldTypeKeyword: edge.PayloadSchemaType.Keyword,
    q.FieldTypeInteger: edge.PayloadSchemaType.Integer,
    q.FieldTypeFloat: edge.PayloadSchemaType.Float,
    q.FieldTypeBool: edge.PayloadSchemaType.Bool,
    q.FieldTypeDatetime: edge.PayloadSchemaType.Datetime,
    q.FieldTypeUuid: edge.PayloadSchemaType.Uuid,
}

DATA_TYPES = {
    "Keyword": q.Keyword,
    "Integer": q.Integer,
    "Float": q.Float,
    "Bool": q.Bool,
    "Datetime": q.Datetime,
    "Uuid": q.Uuid,
}


class Refused(Exception):
    """An answer other than OK."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def wrong(message):
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, message)


def unknown(name):
    return Refused(grpc.StatusCode.NOT_FOUND, f"Not found: Collection `{name}` doesn't exist!")


# Values, ids, vectors


def to_json(value):
    kind = value.WhichOneof("kind")
    if kind is None or kind == "null_value":
        return None
    if kind == "struct_value":
        return {key: to_json(item) for key, item in value.struct_value.fields.items()}
    if kind == "list_value":
        return [to_json(item) for item in value.list_value.values]
    return getattr(value, kind)


def from_json(value):
    if value is None:
        return q.Value(null_value=0)
    if isinstance(value, bool):
        return q.Value(bool_value=value)
    if isinstance(value, int):
        return q.Value(integer_value=value)
    if isinstance(value, float):
        return q.Value(double_value=value)
    if isinstance(value, str):
        return q.Value(string_value=value)
    if isinstance(value, list):
        return q.Value(list_value=q.ListValue(values=[from_json(item) for item in value]))
    return q.Value(struct_value=q.Struct(fields={key: from_json(item) for key, item in value.items()}))


def payload_out(payload):
    return {key: from_json(value) for key, value in (payload or {}).items()}


def id_in(point_id):
    kind = point_id.WhichOneof("point_id_options")
    if kind == "num":
        return point_id.num
    if kind is None:
        raise wrong("No ID options provided")
    try:
        return uuid.UUID(point_id.uuid)
    except ValueError:
        raise wrong(f"Unable to parse UUID: {point_id.uuid}") from None


def id_out(point_id):
    return q.PointId(num=point_id) if isinstance(point_id, int) else q.PointId(uuid=str(point_id))


def dense(message, kind):
    if kind != "dense":
        raise Refused(grpc.StatusCode.UNIMPLEMENTED, f"the tests' Qdrant has no vectors of the kind `{kind}`")
    return list(message.dense.data)


def vector_in(vector):
    kind = vector.WhichOneof("vector")
    # Clients before 1.16 write no kind.
    return list(vector.data) if kind is None else dense(vector, kind)


# Filters


def condition_in(condition):
    kind = condition.WhichOneof("condition_one_of")
    if kind == "field":
        return field_in(condition.field)
    if kind == "is_empty":
        return edge.IsEmptyCondition(condition.is_empty.key)
    if kind == "is_null":
        return edge.IsNullCondition(condition.is_null.key)
    if kind == "has_id":
        return edge.HasIdCondition({id_in(i) for i in condition.has_id.has_id})
    if kind == "filter":
        return filter_in(condition.filter)
    raise Refused(grpc.StatusCode.UNIMPLEMENTED, f"the tests' Qdrant has no condition `{kind}`")


def field_in(field):
    if field.HasField("match"):
        kind = field.match.WhichOneof("match_value")
        if kind not in MATCHES:
            raise Refused(grpc.StatusCode.UNIMPLEMENTED, f"the tests' Qdrant has no match `{kind}`")
        return edge.FieldCondition(field.key, match=MATCHES[kind](getattr(field.match, kind)))
    if field.HasField("range"):
        return edge.FieldCondition(field.key, range=edge.RangeFloat(**bounds(field.range, float)))
    if field.HasField("datetime_range"):
        of_time = bounds(field.datetime_range, lambda time: time.ToJsonString())
        return edge.FieldCondition(field.key, range=edge.RangeDateTime(**of_time))
    raise Refused(grpc.StatusCode.UNIMPLEMENTED, "the tests' Qdrant has no such condition on a field")


def bounds(message, convert):
    return {key: convert(getattr(message, key)) for key in ("lt", "lte", "gt", "gte") if message.HasField(key)}


def filter_in(message):
    if message.HasField("min_should"):
        raise Refused(grpc.StatusCode.UNIMPLEMENTED, "the tests' Qdrant has no `min_should`")
    parts = {key: [condition_in(c) for c in getattr(message, key)] or None for key in ("must", "should", "must_not")}
    return edge.Filter(**parts)


def filter_of(request):
    return filter_in(request.filter) if request.HasField("filter") else None


def payload_selector(request, default):
    if not request.HasField("with_payload"):
        return default
    selector = request.with_payload
    kind = selector.WhichOneof("selector_options")
    if kind == "include":
        return edge.PayloadSelector.Include(list(selector.include.fields))
    if kind == "exclude":
        return edge.PayloadSelector.Exclude(list(selector.exclude.fields))
    return selector.enable if kind else default


class Collection:
    """A shard, and the request that it was made by."""

    def __init__(self, folder, create, shard):
        self.folder, self.create, self.shard = folder, create, shard
        self.lock = threading.RLock()

    @property
    def size(self):
        return self.create.vectors_config.params.size

    @staticmethod
    def make(folder, create):
        params = create.vectors_config.params
        if create.vectors_config.WhichOneof("config") != "params" or params.distance != q.Cosine:
            raise Refused(grpc.StatusCode.UNIMPLEMENTED, "the tests' Qdrant has one vector a point, compared by cosine")
        if not 1 <= params.size <= 65536:
            raise wrong(f"Validation error: [vectors_config.size: value {params.size} invalid, must be from 1 to 65536]")
        vectors = edge.EdgeVectorParams(size=params.size, distance=edge.Distance.Cosine)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        shard = edge.EdgeShard.create(str(folder / "shard"), edge.EdgeConfig(vectors=vectors))
        shard.flush()
        write_whole(folder / "create.bin", create.SerializeToString())
        return Collection(folder, create, shard)

    @staticmethod
    def load(folder):
        create = q.CreateCollection.FromString((folder / "create.bin").read_bytes())
        return Collection(folder, create, edge.EdgeShard.load(str(folder / "shard")))

    def update(self, operation):
        with self.lock:
            self.shard.update(operation)
            self.shard.flush()

    def remove(self):
        with self.lock:
            aside = self.folder.with_name(f".removed-{uuid.uuid4()}")
            self.folder.rename(aside)
            self.shard.close()
            shutil.rmtree(aside, ignore_errors=True)

    def check_vector(self, vector):
        if len(vector) != self.size:
            raise wrong(f"Wrong input: Vector dimension error: expected dim: {self.size}, got {len(vector)}")
        if not all(map(math.isfinite, vector)):
            raise wrong("Wrong input: Vector contains NaN or infinite values")


def write_whole(path, data):
    aside = path.with_name(path.name + ".new")
    aside.write_bytes(data)
    os.replace(aside, path)


class Store:
    """All collections and aliases, in a folder."""

    def __init__(self, folder):
        self.folder, self.lock = folder / "collections", threading.RLock()
        self.alias_path, self.calls = folder / "aliases.json", open(folder / "calls.jsonl", "a", buffering=1)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.aliases = json.loads(self.alias_path.read_text()) if self.alias_path.exists() else {}
        self.collections = {}
        for place in self.folder.iterdir():
            if (place / "create.bin").exists() and not place.name.startswith("."):
                self.collections[unquote(place.name)] = Collection.load(place)
            else:
                shutil.rmtree(place, ignore_errors=True)

    def collection(self, name):
        with self.lock:
            found = self.collections.get(self.aliases.get(name, name))
        if found is None:
            raise unknown(name)
        return found

    def place(self, name):
        # A name may start with a dot, which is kept for what is removed.
        return self.folder / quote(name, safe="").replace(".", "%2E")

    def set_aliases(self, aliases):
        write_whole(self.alias_path, json.dumps(aliases).encode())
        self.aliases = aliases

    def note(self, call, request, points, code):
        name = getattr(request, "collection_name", "")
        self.calls.write(json.dumps({"call": call, "collection": name, "points": points, "code": code}) + "\n")


def rpc(method):
    """Makes a method of a servicer of a function that gives an answer, or an answer and how many points it changed."""

    def call(self, request, context):
        key = dict(context.invocation_metadata()).get("api-key")
        code, points = "OK", 0
        try:
            if self.api_key is not None and key != self.api_key:
                raise Refused(grpc.StatusCode.UNAUTHENTICATED, "Must provide an API key or an Authorization bearer token")
            answer = method(self, request)
            if isinstance(answer, tuple):
                answer, points = answer
            return answer
        except Refused as refused:
            code = refused.code.name
            context.set_code(refused.code)
            context.set_details(str(refused))
        except Exception as error:
            traceback.print_exc()
            code = "INVALID_ARGUMENT"
            context.set_code(grpc.StatusCode.INVALID_ARGUMENT)
            context.set_details(f"Wrong input: {error}")
        finally:
            self.store.note(f"{type(self).__name__}.{method.__name__}", request, points, code)

    call.__name__ = method.__name__
    return call


class Servicer:
    def __init__(self, store, api_key):
        self.store, self.api_key = store, api_key


class Health(Servicer, q.QdrantServicer):
    @rpc
    def HealthCheck(self, request):
        return q.HealthCheckReply(title="the tests' Qdrant", version="1.20.0")


class Collections(Servicer, q.CollectionsServicer):
    @rpc
    def Create(self, request):
        name = request.collection_name
        if not 1 <= len(name) <= 255 or any(c in name for c in '/\\:*?"<>|\0\x1f'):
            raise wrong(f"Validation error: [collection_name: value {name!r} invalid]")
        with self.store.lock:
            if name in self.store.collections or name in self.store.aliases:
                message = f"Wrong input: Collection `{name}` already exists!"
                raise Refused(grpc.StatusCode.ALREADY_EXISTS, message)
            self.store.collections[name] = Collection.make(self.store.place(name), request)
        return q.CollectionOperationResponse(result=True)

    @rpc
    def Delete(self, request):
        name = request.collection_name
        with self.store.lock:
            self.store.set_aliases({a: c for a, c in self.store.aliases.items() if c != name})
            collection = self.store.collections.pop(name, None)
            if collection:
                collection.remove()
        return q.CollectionOperationResponse(result=collection is not None)

    @rpc
    def Get(self, request):
        collection = self.store.collection(request.collection_name)
        with collection.lock:
            info = collection.shard.info()
        schema = {
            key: q.PayloadSchemaInfo(data_type=DATA_TYPES[str(index.data_type).rsplit(".", 1)[-1]], points=index.points)
            for key, index in info.payload_schema.items()
        }
        params = q.CollectionParams(shard_number=1, vectors_config=collection.create.vectors_config)
        result = q.CollectionInfo(
            status=q.Green,
            optimizer_status=q.OptimizerStatus(ok=True),
            segments_count=info.segments_count,
            points_count=info.points_count,
            indexed_vectors_count=info.indexed_vectors_count,
            payload_schema=schema,
            config=q.CollectionConfig(params=params, hnsw_config=collection.create.hnsw_config),
        )
        return q.GetCollectionInfoResponse(result=result)

    @rpc
    def List(self, request):
        with self.store.lock:
            names = [q.CollectionDescription(name=name) for name in self.store.collections]
        return q.ListCollectionsResponse(collections=names)

    @rpc
    def CollectionExists(self, request):
        with self.store.lock:
            exists = self.store.aliases.get(request.collection_name, request.collection_name) in self.store.collections
        return q.CollectionExistsResponse(result=q.CollectionExists(exists=exists))

    @rpc
    def Update(self, request):
        # The server optimizes in the background whenever it is due.
        collection = self.store.collection(request.collection_name)
        with collection.lock:
            collection.shard.optimize()
        return q.CollectionOperationResponse(result=True)

    @rpc
    def UpdateAliases(self, request):
        with self.store.lock:
            aliases = dict(self.store.aliases)
            for action in request.actions:
                kind = action.WhichOneof("action")
                change = getattr(action, kind)
                if kind == "create_alias":
                    if change.collection_name not in self.store.collections:
                        raise unknown(change.collection_name)
                    if change.alias_name in self.store.collections:
                        message = f"Wrong input: Collection `{change.alias_name}` already exists!"
                        raise Refused(grpc.StatusCode.ALREADY_EXISTS, message)
                    aliases[change.alias_name] = change.collection_name
                elif kind == "delete_alias":
                    aliases.pop(change.alias_name, None)
                else:
                    aliases[change.new_alias_name] = aliases.pop(change.old_alias_name)
            self.store.set_aliases(aliases)
        return q.CollectionOperationResponse(result=True)

    @rpc
    def ListAliases(self, request):
        with self.store.lock:
            pairs = sorted(self.store.aliases.items())
        return q.ListAliasesResponse(aliases=[q.AliasDescription(alias_name=a, collection_name=c) for a, c in pairs])


class Points(Servicer, q.PointsServicer):
    @rpc
    def Upsert(self, request):
        collection = self.store.collection(request.collection_name)
        if not request.points:
            raise wrong("Wrong input: Empty update request")
        points = []
        for point in request.points:
            if point.vectors.WhichOneof("vectors_options") != "vector":
                raise wrong("Wrong input: Expected one vector")
            vector = vector_in(point.vectors.vector)
            collection.check_vector(vector)
            payload = {key: to_json(value) for key, value in point.payload.items()}
            points.append(edge.Point(id_in(point.id), vector, payload))
        collection.update(edge.UpdateOperation.upsert_points(points))
        return completed(), len(points)

    @rpc
    def Delete(self, request):
        collection = self.store.collection(request.collection_name)
        kind = request.points.WhichOneof("points_selector_one_of")
        if kind == "points":
            ids = [id_in(i) for i in request.points.points.ids]
            operation = edge.UpdateOperation.delete_points(ids)
            selected = edge.Filter(must=[edge.HasIdCondition(set(ids))])
        elif kind == "filter":
            selected = filter_in(request.points.filter)
            operation = edge.UpdateOperation.delete_points_by_filter(selected)
        else:
            raise wrong("No point selector provided")
        with collection.lock:
            removed = collection.shard.count(edge.CountRequest(exact=True, filter=selected))
            collection.update(operation)
        return completed(), removed

    @rpc
    def CreateFieldIndex(self, request):
        collection = self.store.collection(request.collection_name)
        schema = FIELD_TYPES.get(request.field_type)
        if schema is None:
            raise Refused(grpc.StatusCode.UNIMPLEMENTED, "the tests' Qdrant has no index of that type")
        if request.HasField("field_index_params"):
            if request.field_index_params.WhichOneof("index_params") != "keyword_index_params":
                raise Refused(grpc.StatusCode.UNIMPLEMENTED, "the tests' Qdrant has parameters of keyword indexes only")
            schema = edge.KeywordIndexParams(is_tenant=request.field_index_params.keyword_index_params.is_tenant)
        collection.update(edge.UpdateOperation.create_field_index(request.field_name, schema))
        return completed()

    @rpc
    def Query(self, request):
        collection = self.store.collection(request.collection_name)
        limit = request.limit if request.HasField("limit") else 10
        if limit < 1:
            raise wrong("Validation error in body: [internal.limit: value 0 invalid, must be 1 or larger]")
        if request.query.WhichOneof("variant") != "nearest" or request.prefetch:
            raise Refused(grpc.StatusCode.UNIMPLEMENTED, "the tests' Qdrant finds the nearest only")
        vector = dense(request.query.nearest, request.query.nearest.WhichOneof("variant"))
        collection.check_vector(vector)
        query = edge.QueryRequest(
            limit=limit,
            offset=request.offset,
            query=edge.Query.Nearest(vector),
            filter=filter_of(request),
            params=edge.SearchParams(exact=request.params.exact),
            with_payload=payload_selector(request, False),
        )
        with collection.lock:
            found = collection.shard.query(query)
        points = [q.ScoredPoint(id=id_out(p.id), score=p.score, version=p.version, payload=payload_out(p.payload)) for p in found]
        return q.QueryResponse(result=points)

    @rpc
    def Scroll(self, request):
        collection = self.store.collection(request.collection_name)
        limit = request.limit if request.HasField("limit") else 10
        if limit < 1:
            raise wrong("Validation error in body: [limit: value 0 invalid, must be 1 or larger]")
        scroll = edge.ScrollRequest(
            offset=id_in(request.offset) if request.HasField("offset") else None,
            limit=limit,
            filter=filter_of(request),
            with_payload=payload_selector(request, True),
        )
        with collection.lock:
            found, following = collection.shard.scroll(scroll)
        points = [q.RetrievedPoint(id=id_out(p.id), payload=payload_out(p.payload)) for p in found]
        return q.ScrollResponse(result=points, next_page_offset=None if following is None else id_out(following))

    @rpc
    def Count(self, request):
        collection = self.store.collection(request.collection_name)
        with collection.lock:
            count = collection.shard.count(edge.CountRequest(exact=True, filter=filter_of(request)))
        return q.CountResponse(result=q.CountResult(count=count))

    @rpc
    def Facet(self, request):
        collection = self.store.collection(request.collection_name)
        limit = request.limit if request.HasField("limit") else 10
        if limit < 1:
            raise wrong("Validation error in body: [limit: value 0 invalid, must be 1 or larger]")
        facet = edge.FacetRequest(request.key, limit=limit, exact=request.exact, filter=filter_of(request))
        with collection.lock:
            hits = collection.shard.facet(facet).hits
        return q.FacetResponse(hits=[q.FacetHit(value=q.FacetValue(string_value=str(h.value)), count=h.count) for h in hits])


def completed():
    return q.PointsOperationResponse(result=q.UpdateResult(operation_id=0, status=q.Completed))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--api-key")
    arguments = parser.parse_args()
    store = Store(arguments.folder)
    # As the server: no limit of a message's size. And no other process may share the port.
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8), options=options)
    q.add_QdrantServicer_to_server(Health(store, arguments.api_key), server)
    q.add_CollectionsServicer_to_server(Collections(store, arguments.api_key), server)
    q.add_PointsServicer_to_server(Points(store, arguments.api_key), server)
    server.add_insecure_port(arguments.address)
    server.start()
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
