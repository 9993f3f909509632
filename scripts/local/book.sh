# Commands for the experiments of shared/README.md: `. scripts/local/book.sh` in bash or zsh, while scripts/dev runs.
# PORT: of the running shop, 8080 by default.

# Send a GraphQL request; further arguments go to curl.
ask() {
    local query=$1
    shift
    python3 -c 'import json, sys; print(json.dumps({"query": sys.argv[1]}))' "$query" |
        curl -s "localhost:${PORT:-8080}/graphql" -H 'content-type: application/json' -d @- "$@"
    echo
}

# Order two units of the product; the first argument is added to the input, further ones go to curl. Sets $order.
order() {
    local more=$1 answer
    shift
    answer=$(ask "mutation { createOrder(input: { userId: \"hanako\", items: [{ productId: \"$product\",
        productName: \"Film ISO 400, 36 exposures\", quantity: 2, unitPrice: \"1980\" }] $more }) { order { id } } }" "$@")
    order=$(first_id <<<"$answer")
    echo "$answer"
}

# Push a message about a stream's version to the function project_products, as Pub/Sub would.
# Arguments: the event's id, its version.
push() {
    local data
    data=$(python3 -c 'import base64, json, sys
body = {"version": int(sys.argv[1]), "schema_version": 1, "data": {}, "recorded_at": "2026-01-01T00:00:00Z"}
print(base64.b64encode(json.dumps(body).encode()).decode())' "$2")
    curl -s -w '\n%{http_code}\n' "localhost:$((${PORT:-8080} + 2))/project_products" -H 'content-type: application/json' -d "{
        \"subscription\": \"projects/local/subscriptions/project-products.product-events\",
        \"message\": {\"messageId\": \"1\", \"data\": \"$data\", \"attributes\": {
            \"ce-specversion\": \"1.0\", \"ce-id\": \"$1\", \"ce-source\": \"//shop/product-events\", \"ce-type\": \"StockAdjusted\",
            \"ce-subject\": \"product-$product\", \"ce-time\": \"2026-01-01T00:00:00Z\", \"content-type\": \"application/json\",
            \"correlation_id\": \"book\", \"causation_id\": \"book\", \"actor\": \"system\"}}}"
}

# Push a message that nothing understands to record_dead_letter, as Pub/Sub does after ten attempts in vain.
poison() {
    curl -s "localhost:$((${PORT:-8080} + 1))/record_dead_letter" -H 'content-type: application/json' -d '{
        "subscription": "projects/local/subscriptions/record-dead-letter.project-products.product-events.dead",
        "message": {"messageId": "1", "data": "e30=", "attributes": {"ce-type": "Unknown",
            "CloudPubSubDeadLetterSourceSubscription": "project-products.product-events",
            "CloudPubSubDeadLetterSourceDeliveryCount": "10"}}}'
}

first_id() { grep -o '[0-9a-f]\{8\}-[0-9a-f-]\{27\}' | head -1; }

product=$(ask '{ searchProducts(searchTerm: "Film ISO 400") { id } }' | first_id)
echo "the product is ${product:-missing: start scripts/dev first}"
