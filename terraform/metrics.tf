# The descriptors of the metrics that report_metrics writes. They must exist first: Cloud Monitoring refuses an alert policy on
# an unknown metric. They are read from the table in the code, so name, kind, unit and labels are the same.
#
# report_metrics creates descriptors that do not exist, and finds all of them here. If it ever runs first, there is no conflict
# either: creating the same descriptor again changes nothing.
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

# The filters of the policies and the dashboard. The shop's own metrics are named by their descriptor, so that Terraform finds a
# wrong name, and creates the descriptor first.
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
