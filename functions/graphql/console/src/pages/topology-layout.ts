import { graphlib, layout } from "@dagrejs/dagre";

export type Connection = { targetService: string; connectionType: string; status: string; latencyMs: number | null };
export type Service = { serviceName: string; group: string; status: string; connections: readonly Connection[] };

export type Placed = { id: string; x: number; y: number; width: number; height: number };
export type Edge = { from: string; to: string; status: string; path: string };
export type Drawing = { nodes: Placed[]; edges: Edge[]; width: number; height: number };

const NODE = { width: 168, height: 44 };

/** Lay the functions, topics and databases out from left to right, along the way of a message. */
export const drawn = (services: readonly Service[]): Drawing => {
  const graph = new graphlib.Graph();
  graph.setGraph({ rankdir: "LR", nodesep: 10, ranksep: 70, marginx: 8, marginy: 8 });
  graph.setDefaultEdgeLabel(() => ({}));
  const statuses = new Map<string, string>();
  for (const { serviceName, connections } of services) {
    graph.setNode(serviceName, { ...NODE });
    for (const { targetService, connectionType, status } of connections) {
      if (!graph.hasNode(targetService)) graph.setNode(targetService, { ...NODE });
      const [from, to] =
        connectionType === "SUBSCRIPTION" ? [targetService, serviceName] : [serviceName, targetService];
      graph.setEdge(from, to, {});
      statuses.set(`${from} ${to}`, status);
    }
  }
  layout(graph);
  const size = graph.graph() as { width?: number; height?: number };
  const nodes = graph.nodes().map((id): Placed => ({ id, ...NODE, ...(graph.node(id) as { x: number; y: number }) }));
  const edges = graph.edges().map(({ v, w }): Edge => {
    const { points } = graph.edge(v, w) as { points: { x: number; y: number }[] };
    const path = points.map(({ x, y }, index) => `${index ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join(" ");
    return { from: v, to: w, status: statuses.get(`${v} ${w}`) ?? "UNKNOWN", path };
  });
  return { nodes, edges, width: size.width ?? 0, height: size.height ?? 0 };
};
