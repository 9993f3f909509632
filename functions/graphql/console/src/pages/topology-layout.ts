import { graphlib, layout } from "@dagrejs/dagre";

/** In a minute; null when unknown. */
export type Rates = { callsPerMinute: number | null; errorsPerMinute: number | null };
export type Connection = { targetService: string; connectionType: string; status: string; latencyMs: number | null } & Rates;
export type Service = { serviceName: string; group: string; status: string; connections: readonly Connection[] };

export type Placed = { id: string; x: number; y: number; width: number; height: number };
/** `x`, `y`: of the middle, where its label is. */
export type Edge = { from: string; to: string; status: string; path: string; x: number; y: number } & Rates;
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
    const { status = "UNKNOWN", callsPerMinute = null, errorsPerMinute = null } = known.get(`${v} ${w}`) ?? {};
    const path = points.map(({ x, y }, index) => `${index ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join(" ");
    return { from: v, to: w, status, path, x, y, callsPerMinute, errorsPerMinute };
  });
  return { nodes, edges, width: size.width ?? 0, height: size.height ?? 0 };
};
