# The shop's own network, for two reasons: PostgreSQL has no public address, and internal functions accept no requests from
# outside.

resource "google_compute_network" "shop" {
  name                    = "shop"
  auto_create_subnetworks = false

  depends_on = [google_project_service.api]
}

# An instance uses up to two addresses, and a new revision starts before the old one ends: room for a thousand instances.
resource "google_compute_subnetwork" "functions" {
  name                     = "shop-functions"
  network                  = google_compute_network.shop.id
  region                   = var.region
  ip_cidr_range            = "10.8.0.0/20"
  private_ip_google_access = true # see the zone below
}

# The address range of PostgreSQL's machines.
resource "google_compute_global_address" "databases" {
  name          = "shop-databases"
  network       = google_compute_network.shop.id
  purpose       = "VPC_PEERING"
  address_type  = "INTERNAL"
  prefix_length = 20
  labels        = local.labels
}

resource "google_service_networking_connection" "databases" {
  network                 = google_compute_network.shop.id
  service                 = "servicenetworking.googleapis.com"
  reserved_peering_ranges = [google_compute_global_address.databases.name]

  # Google releases the connection days after the last database is deleted; deleting it earlier fails. So Terraform forgets
  # it, and scripts/deploy --destroy --with-data removes the peering from our side; otherwise the network could not be deleted.
  # If the shop is deployed again before that, Terraform takes over the existing connection.
  deletion_policy         = "ABANDON"
  update_on_creation_fail = true
}

# Functions call each other over this network, because `ingress = internal` refuses a function's default egress, which counts
# as outside. So inside the network, every name under run.app resolves to private.googleapis.com, whose four addresses are
# among the private ranges that Direct VPC egress routes and Private Google Access serves. All other traffic (Firestore,
# Pub/Sub, a real payment provider) still goes out directly, so no NAT is needed.
resource "google_dns_managed_zone" "run" {
  name        = "shop-run-app"
  dns_name    = "run.app."
  description = "Cloud Run from inside"
  visibility  = "private"
  labels      = local.labels

  private_visibility_config {
    networks {
      network_url = google_compute_network.shop.id
    }
  }

  depends_on = [google_project_service.api]
}

resource "google_dns_record_set" "run" {
  managed_zone = google_dns_managed_zone.run.name
  name         = "*.run.app."
  type         = "A"
  ttl          = 300
  rrdatas      = ["199.36.153.8", "199.36.153.9", "199.36.153.10", "199.36.153.11"]
}
