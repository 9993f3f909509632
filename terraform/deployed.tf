# Outputs that a later run of scripts/deploy reads, so that options need not be repeated.

output "environment" {
  description = "The environment: staging or prod."
  value       = var.environment
}

output "admin_email" {
  description = "The e-mail address of the shop's admin."
  value       = var.admin_email
}

output "dashboard_url" {
  description = "The address of the monitoring dashboard."
  value       = "https://console.cloud.google.com/monitoring/dashboards/builder/${basename(google_monitoring_dashboard.shop.id)}?project=${var.project_id}"
}
