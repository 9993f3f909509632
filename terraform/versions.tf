terraform {
  required_version = ">= 1.9"

  # Exact, so that a new release changes nothing by itself. .terraform.lock.hcl adds their checksums (README.md).
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "8.7.0"
    }
    google-beta = {
      source  = "hashicorp/google-beta"
      version = "8.7.0"
    }
  }

  # The bucket is given by `terraform init -backend-config=bucket=BUCKET`. scripts/deploy creates it and passes its name.
  backend "gcs" {
    prefix = "shop"
  }
}

# This project's quota and billing are used for the APIs, independent of the user who runs Terraform. Otherwise Identity
# Platform, Firebase rules and budgets refuse a person's own credentials.
provider "google" {
  project               = var.project_id
  region                = var.region
  user_project_override = true
  billing_project       = var.project_id
}

provider "google-beta" {
  project               = var.project_id
  region                = var.region
  user_project_override = true
  billing_project       = var.project_id
}
