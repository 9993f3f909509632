import { graphlib, layout } from "@dagrejs/dagre";

/** Since counting began; null when unknown. */
export type Counts = { calls: number | string | null; errors: number | string | null };
/** In a minute; undefined until two readings are known. */
export type Rates = { calls: number; errors: number } | undefined;
export type Connection = { targetService: string; connectionType: string; status: string; latencyMs: number | null } & Counts;
export type Service = { serviceName: string; group: string; status: string; connections: readonly Connection[] };

export type Placed = { id: string; x: number; y: number; width: number; height: number };
/** `x`, `y`: of the middle, where its label is. */
export type Edge = { from: string; to: string; status: string; path: string; x: number; y: number };
export type Drawing = { nodes: Placed[]; edges: Edge[]; width: number; height: number };

const HEIGHT = 44;
const LABEL = { width: 84, height: 14, labelpos: "c" };
const [NARROWEST, OF_CHARACTER, PADDING] = [168, 7.2, 20];

/** Return how wide the place of a name is: no name is cut. */
export const widthOf = (name: string): number => Math.max(NARROWEST, Math.ceil(name.length * OF_CHARACTER) + PADDING);
const node = (name: string) => ({ width: widthOf(name), height: HEIGHT });

/** Lay the functions, topics and databases out from left to right, along the way of a message. */
export const drawn = (services: readonly Service[]): Drawing => {
  const graph = new graphlib.Graph();
  graph.setGraph({ rankdir: "LR", nodesep: 10, ranksep: 40, marginx: 8, marginy: 8 });
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
    const path = points.map(({ x, y }, index) => `${index ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join(" ");
    return { from: v, to: w, status: known.get(`${v} ${w}`)?.status ?? "UNKNOWN", path, x, y };
  });
  return { nodes, edges, width: size.width ?? 0, height: size.height ?? 0 };
};

/** How often each connection had been used, by its two ends, at a moment in milliseconds. */
export type Reading = { at: number; counts: ReadonlyMap<string, { calls: number; errors: number }> };

const KEPT_MS = 5 * 60_000;

export const endsOf = (service: string, { targetService, connectionType }: Connection): string =>
  connectionType === "SUBSCRIPTION" ? `${targetService} ${service}` : `${service} ${targetService}`;

export const readingOf = (services: readonly Service[], at: number): Reading => {
  const known = services.flatMap(({ serviceName, connections }) =>
    connections.flatMap((one): [string, { calls: number; errors: number }][] =>
      one.calls === null ? [] : [[endsOf(serviceName, one), { calls: Number(one.calls), errors: Number(one.errors) }]],
    ),
  );
  return { at, counts: new Map(known) };
};

/** Add a reading, and forget those that are older than five minutes. */
export const withReading = (readings: readonly Reading[], added: Reading): Reading[] =>
  [...readings, added].filter(({ at }) => added.at - at <= KEPT_MS);

/** Return how often a connection was used in a minute, on average since the first reading. */
export const rateOf = (readings: readonly Reading[], ends: string): Rates => {
  const [first, last] = [readings[0], readings.at(-1)];
  const [from, to] = [first?.counts.get(ends), last?.counts.get(ends)];
  if (!first || !last || !from || !to || last.at === first.at) return undefined;
  const minutes = (last.at - first.at) / 60_000;
  return { calls: (to.calls - from.calls) / minutes, errors: (to.errors - from.errors) / minutes };
};
