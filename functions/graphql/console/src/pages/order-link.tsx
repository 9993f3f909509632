import { Link } from "wouter";

import { shortId } from "../ui/format.ts";

/** The way to an order's page, from a table of orders. */
export const OrderLink = ({ id }: { id: string }) => (
  <Link href={`/orders/${id}`}>
    <code>{shortId(id)}</code>
  </Link>
);
