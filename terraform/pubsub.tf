locals {
  consumers = { for pair in flatten([
    for name, function in local.functions : [
      for topic in function.topics : { name = "${replace(name, "_", "-")}.${topic}", function = name, topic = topic }
    ]
  ]) : pair.name => pair }

  recorders = { for pair in flatten([
    for name, function in local.functions : [
      for source in keys(local.consumers) : { name = "${replace(name, "_", "-")}.${source}.dead", function = name, topic = "${source}.dead" }
    ] if function.dead_letters
  ]) : pair.name => pair }

  subscriptions = merge(local.consumers, local.recorders)
  topics        = toset([for subscription in local.subscriptions : subscription.topic])
}

resource "google_pubsub_topic" "topic" {
  for_each = local.topics

  name   = each.key
  labels = local.labels
}

resource "google_pubsub_subscription" "push" {
  for_each = local.subscriptions

  name   = each.key
  topic  = google_pubsub_topic.topic[each.value.topic].id
  labels = local.labels
}
