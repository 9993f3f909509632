terraform {
  required_version = ">= 1.9"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 8.7"
    }
    google-beta = {
      source  = "hashicorp/google-beta"
      version = "~> 8.7"
    }
  }

  # Partial: `terraform init -backend-config=bucket=BUCKET`. scripts/deploy makes the bucket and says its name.
  backend "gcs" {
    prefix = "shop"
  }
}

# Quota and billing of the APIs are this project's, whoever runs Terraform: Identity Platform, Firebase rules and budgets
# refuse a person's own credentials otherwise.
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
