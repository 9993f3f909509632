# What scripts/deploy finds here when it comes again, so that nobody has to say it twice.

output "environment" {
  description = "What this system is for: staging or prod."
  value       = var.environment
}

output "admin_email" {
  description = "Who is admin of the shop."
  value       = var.admin_email
}

output "dashboard_url" {
  description = "One page that shows how the shop does."
  value       = "https://console.cloud.google.com/monitoring/dashboards/builder/${basename(google_monitoring_dashboard.shop.id)}?project=${var.project_id}"
}
