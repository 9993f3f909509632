import { graphlib, layout } from "@dagrejs/dagre";

/** Since counting began; null when unknown. */
type Long = number | string | null;
export type Counts = { calls: Long; errors: Long; totalDurationMs: Long };
/** In a minute, and how long a call took on average, 0 without calls; undefined until two readings are known. */
export type Rates = { calls: number; errors: number; averageMs: number } | undefined;
export type Connection = { targetService: string; connectionType: string; status: string; latencyMs: number | null } & Counts;
export type Service = { serviceName: string; group: string; status: string; connections: readonly Connection[] };

export type Placed = { id: string; x: number; y: number; width: number; height: number };
/** `x`, `y`: of the middle, where its label is. */
export type Edge = { from: string; to: string; status: string; points: { x: number; y: number }[]; x: number; y: number };
export type Drawing = { nodes: Placed[]; edges: Edge[]; width: number; height: number };

const HEIGHT = 44;
const LABEL = { width: 200, height: 14, labelpos: "c" };
const [NARROWEST, OF_CHARACTER, PADDING] = [168, 7.2, 20];

/** Return how wide the place of a name is: no name is cut. */
export const widthOf = (name: string): number => Math.max(NARROWEST, Math.ceil(name.length * OF_CHARACTER) + PADDING);
const node = (name: string) => ({ width: widthOf(name), height: HEIGHT });

const groupDrawn = (services: readonly Service[]): Drawing => {
  const graph = new graphlib.Graph();
  graph.setGraph({ rankdir: "LR", nodesep: 8, ranksep: 20, marginx: 8, marginy: 8 });
  graph.setDefaultEdgeLabel(() => ({}));
  const known = new Map<string, Connection>();
  for (const { serviceName, connections } of services) {
    graph.setNode(serviceName, node(serviceName));
    for (const connection of connections) {
      const { targetService, connectionType } = connection;
      if (!graph.hasNode(targetService)) graph.setNode(targetService, node(targetService));
      const [from, to] =
        connectionType === "SUBSCRIPTION" ? [targetService, serviceName] : [serviceName, targetService];
      graph.setEdge(from, to, { ...LABEL });
      known.set(`${from} ${to}`, connection);
    }
  }
  layout(graph);
  const size = graph.graph() as { width?: number; height?: number };
  const nodes = graph.nodes().map((id): Placed => ({ id, ...node(id), ...(graph.node(id) as { x: number; y: number }) }));
  const edges = graph.edges().map(({ v, w }): Edge => {
    const { points, x, y } = graph.edge(v, w) as { points: { x: number; y: number }[]; x: number; y: number };
    return { from: v, to: w, status: known.get(`${v} ${w}`)?.status ?? "UNKNOWN", points, x, y };
  });
  return { nodes, edges, width: size.width ?? 0, height: size.height ?? 0 };
};

/** Return the services in groups that no connection joins. */
const groupsOf = (services: readonly Service[]): Service[][] => {
  const groups: { names: Set<string>; services: Service[] }[] = [];
  for (const service of services) {
    const names = new Set([service.serviceName, ...service.connections.map(({ targetService }) => targetService)]);
    const joined = groups.filter((group) => [...names].some((name) => group.names.has(name)));
    for (const group of joined) groups.splice(groups.indexOf(group), 1);
    groups.push({
      names: new Set([...joined.flatMap((group) => [...group.names]), ...names]),
      services: [...joined.flatMap((group) => group.services), service],
    });
  }
  return groups.map((group) => group.services);
};

const COLUMN = 560;

/**
 * Lay the functions, topics and databases out from left to right, along the way of a message. Groups that no connection
 * joins are placed in as many columns as fit into the width, each in the shortest.
 */
export const drawn = (services: readonly Service[], width = 0): Drawing => {
  const groups = groupsOf(services).map(groupDrawn).sort((a, b) => b.height - a.height);
  const widest = Math.max(COLUMN, ...groups.map((group) => group.width));
  const columns = Array.from({ length: Math.max(1, Math.floor(width / widest)) }, () => 0);
  const all: Drawing = { nodes: [], edges: [], width: 0, height: 0 };
  for (const group of groups) {
    const column = columns.indexOf(Math.min(...columns));
    const [left, top] = [column * widest, columns[column] ?? 0];
    all.nodes.push(...group.nodes.map((one) => ({ ...one, x: one.x + left, y: one.y + top })));
    all.edges.push(
      ...group.edges.map((one) => ({
        ...one,
        x: one.x + left,
        y: one.y + top,
        points: one.points.map(({ x, y }) => ({ x: x + left, y: y + top })),
      })),
    );
    columns[column] = top + group.height;
    all.width = Math.max(all.width, left + group.width);
    all.height = Math.max(all.height, top + group.height);
  }
  return all;
};

export const pathOf = ({ points }: Edge): string =>
  points.map(({ x, y }, index) => `${index ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join(" ");

/** How often each connection had been used, by its two ends, at a moment in milliseconds. */
export type Reading = { at: number; counts: ReadonlyMap<string, Used> };
type Used = { calls: number; errors: number; milliseconds: number };

const KEPT_MS = 5 * 60_000;

export const endsOf = (service: string, { targetService, connectionType }: Connection): string =>
  connectionType === "SUBSCRIPTION" ? `${targetService} ${service}` : `${service} ${targetService}`;

export const readingOf = (services: readonly Service[], at: number): Reading => {
  const known = services.flatMap(({ serviceName, connections }) =>
    connections
      .filter(({ calls }) => calls !== null)
      .map((one): [string, Used] => [
        endsOf(serviceName, one),
        { calls: Number(one.calls), errors: Number(one.errors), milliseconds: Number(one.totalDurationMs) },
      ]),
  );
  return { at, counts: new Map(known) };
};

/** Add a reading, and forget those that are older than five minutes. */
export const withReading = (readings: readonly Reading[], added: Reading): Reading[] =>
  [...readings, added].filter(({ at }) => added.at - at <= KEPT_MS);

/** Return how often a connection was used in a minute, and how long that took, on average since the first reading. */
export const rateOf = (readings: readonly Reading[], ends: string): Rates => {
  const [first, last] = [readings[0], readings.at(-1)];
  const [from, to] = [first?.counts.get(ends), last?.counts.get(ends)];
  if (!first || !last || !from || !to || last.at === first.at) return undefined;
  const minutes = (last.at - first.at) / 60_000;
  const calls = to.calls - from.calls;
  return {
    calls: calls / minutes,
    errors: (to.errors - from.errors) / minutes,
    averageMs: calls && (to.milliseconds - from.milliseconds) / calls,
  };
};

/** A function's subscription to a topic: how many messages it was given since counting began, and in a minute now. */
export type Subscription = { name: string; topic: string; rates: Rates } & Counts;

/** Return what a function is subscribed to. A subscription is named after its function and its topic. */
export const subscriptionsOf = (service: Service | undefined, readings: readonly Reading[]): Subscription[] =>
  (service?.connections ?? [])
    .filter(({ connectionType }) => connectionType === "SUBSCRIPTION")
    .map(({ targetService: topic, calls, errors, totalDurationMs }) => {
      const of = service?.serviceName ?? "";
      const name = `${of.replaceAll("_", "-")}.${topic}`;
      return { name, topic, calls, errors, totalDurationMs, rates: rateOf(readings, `${topic} ${of}`) };
    });
