# Topics, and a push subscription for every consumer of each. Messages that a consumer could not process go to its own
# dead-letter topic, and from there to the recorder. Names and numbers are those of shared/config/manifest.py.

locals {
  consumers = merge([
    for name, function in local.functions : {
      for topic in function.topics :
      "${replace(name, "_", "-")}.${topic}" => { function = name, topic = topic, dead_letter_topic = "${replace(name, "_", "-")}.${topic}.dead" }
    }
  ]...)

  recorders = merge([
    for name, function in local.functions : {
      for consumer in values(local.consumers) :
      "${replace(name, "_", "-")}.${consumer.dead_letter_topic}" => { function = name, topic = consumer.dead_letter_topic, dead_letter_topic = null }
    } if function.dead_letters
  ]...)

  subscriptions = merge(local.consumers, local.recorders)

  consumed_topics    = toset([for one in values(local.consumers) : one.topic])
  dead_letter_topics = toset([for one in values(local.consumers) : one.dead_letter_topic])
  event_topics       = toset([for topic in local.consumed_topics : topic if endswith(topic, "-events")])
  delivery           = local.manifest.subscriptions
}

resource "google_pubsub_topic" "topic" {
  for_each = setunion(local.consumed_topics, local.dead_letter_topics)

  name   = each.key
  labels = local.labels

  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  depends_on = [google_project_service.api]
}

resource "google_pubsub_subscription" "push" {
  for_each = local.subscriptions

  name                       = each.key
  topic                      = google_pubsub_topic.topic[each.value.topic].id
  labels                     = local.labels
  ack_deadline_seconds       = local.delivery.ack_deadline_seconds # also the time limit of a push
  message_retention_duration = "604800s"                           # 7 days

  push_config {
    push_endpoint = local.urls[each.value.function]
    oidc_token {
      service_account_email = google_service_account.push.email
      audience              = local.urls[each.value.function]
    }
  }

  retry_policy {
    minimum_backoff = "${local.delivery.min_backoff_seconds}s"
    maximum_backoff = "${local.delivery.max_backoff_seconds}s"
  }

  # A recorder has none: its messages are retried until they succeed or expire.
  dynamic "dead_letter_policy" {
    for_each = each.value.dead_letter_topic == null ? [] : [each.value.dead_letter_topic]
    content {
      dead_letter_topic     = google_pubsub_topic.topic[dead_letter_policy.value].id
      max_delivery_attempts = local.delivery.max_delivery_attempts
    }
  }

  expiration_policy {
    ttl = "" # never expires, even when unused
  }

  # Without these rights every push would fail and count as an attempt.
  depends_on = [google_cloud_run_v2_service_iam_member.pushed_to, google_service_account_iam_member.pubsub_signs_pushes]
}

# Pub/Sub's own account in this project.
resource "google_project_service_identity" "pubsub" {
  provider = google-beta

  service = "pubsub.googleapis.com"

  depends_on = [google_project_service.api]
}

resource "google_service_account" "push" {
  account_id   = "shop-push"
  display_name = "Pushes the shop's messages to its functions"

  depends_on = [google_project_service.api]
}

# Pub/Sub publishes undeliverable messages to the dead-letter topic,
resource "google_pubsub_topic_iam_member" "pubsub_gives_up" {
  for_each = local.consumers

  topic  = google_pubsub_topic.topic[each.value.dead_letter_topic].name
  role   = "roles/pubsub.publisher"
  member = google_project_service_identity.pubsub.member
}

# and acknowledges them on the subscription.
resource "google_pubsub_subscription_iam_member" "pubsub_takes_off" {
  for_each = local.consumers

  subscription = google_pubsub_subscription.push[each.key].name
  role         = "roles/pubsub.subscriber"
  member       = google_project_service_identity.pubsub.member
}

# Pub/Sub signs pushes as the push account,
resource "google_service_account_iam_member" "pubsub_signs_pushes" {
  service_account_id = google_service_account.push.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = google_project_service_identity.pubsub.member
}

# which may call the function.
resource "google_cloud_run_v2_service_iam_member" "pushed_to" {
  for_each = toset([for one in values(local.subscriptions) : one.function])

  name     = google_cloud_run_v2_service.function[each.key].name
  location = var.region
  role     = "roles/run.invoker"
  member   = "serviceAccount:${google_service_account.push.email}"
}
