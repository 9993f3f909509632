# The metrics that report_metrics writes, described before anything asks for them: an alert policy on a metric that nobody
# has described is refused. The table is the one that the code counts by, so name, kind, unit and labels are the same.
#
# report_metrics describes what Cloud Monitoring has not heard of, and finds all of it here. Should it ever be first, that is
# no conflict either: describing a metric again, in the same words, changes nothing.
locals {
  metric_table = regexall(
    "(?m)^shop_(\\w+) +(counter|gauge) +(1|s) +stores *(.*)\\n    (.*)$",
    file("${path.module}/../shared/monitoring/metrics.py"),
  )
  metrics = {
    for one in local.metric_table : one[0] => {
      kind   = { counter = "CUMULATIVE", gauge = "GAUGE" }[one[1]]
      unit   = one[2]
      value  = { "1" = "INT64", s = "DOUBLE" }[one[2]]
      labels = compact(split(" ", one[3]))
      help   = one[4]
    }
  }
}

resource "google_monitoring_metric_descriptor" "shop" {
  for_each = local.metrics

  type         = "custom.googleapis.com/shop/${each.key}"
  metric_kind  = each.value.kind
  value_type   = each.value.value
  unit         = each.value.unit
  display_name = "shop_${each.key}"
  description  = each.value.help

  dynamic "labels" {
    for_each = each.value.labels
    content {
      key = labels.value
    }
  }

  depends_on = [google_project_service.api]
}

# How the policies and the dashboard name a metric: of the shop's own by its descriptor, so that one that does not exist is
# a mistake that Terraform finds, and so that it is described first.
locals {
  of_shop = {
    for name, one in google_monitoring_metric_descriptor.shop : name => "metric.type=\"${one.type}\" AND resource.type=\"global\""
  }
  of_run = {
    for name in ["request_count", "request_latencies", "container/instance_count"] : name => join(" AND ", [
      "metric.type=\"run.googleapis.com/${name}\"",
      "resource.type=\"cloud_run_revision\"",
      "resource.labels.service_name=starts_with(\"shop-\")",
    ])
  }
  of_subscriptions = {
    for name in ["oldest_unacked_message_age", "num_undelivered_messages"] :
    name => "metric.type=\"pubsub.googleapis.com/subscription/${name}\" AND resource.type=\"pubsub_subscription\""
  }
  of_database = {
    for name in ["postgresql/num_backends", "cpu/utilization", "disk/utilization"] : name => join(" AND ", [
      "metric.type=\"cloudsql.googleapis.com/database/${name}\"",
      "resource.type=\"cloudsql_database\"",
      "resource.labels.database_id=\"${var.project_id}:${google_sql_database_instance.postgres.name}\"",
    ])
  }
}
