import { ask } from "../api/client.ts";
import { failureOf } from "../api/failure.ts";
import { graphql } from "../api/graphql.ts";
import { type Outcome, send } from "../ui/act.tsx";

const WHO = graphql(`
  query Who {
    viewer {
      uid
    }
  }
`);

const CREATE_ORDER = graphql(`
  mutation CreateOrder($input: CreateOrderInput!) {
    createOrder(input: $input) {
      order {
        id
      }
    }
  }
`);

type Product = { id: string; name: string; price: string };
type Methods = { paymentMethod?: string; shippingMethod?: string };

/** Order one product for the person who is signed in, and return the order's id. */
export const order = async (product: Product, quantity: number, methods: Methods = {}): Promise<Outcome<string>> => {
  const who = await ask(WHO, {});
  const userId = who.data?.viewer?.uid;
  if (!userId) {
    return { failure: who.error ? failureOf(who.error) : { code: "UNAUTHENTICATED", message: "sign in to order" } };
  }
  const line = { productId: product.id, productName: product.name, quantity, unitPrice: product.price };
  const outcome = await send(CREATE_ORDER, { input: { userId, items: [line], ...methods } });
  if ("failure" in outcome) return outcome;
  return { data: outcome.data.createOrder?.order?.id ?? "" };
};
