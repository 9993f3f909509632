# Deploying from GitHub: nothing of it unless asked for, and then one repository alone.

mock_provider "google" {
  override_during = plan

  mock_data "google_project" {
    defaults = { number = "123456789012" }
  }
  mock_resource "google_service_account" {
    defaults = { email = "shop-deployer@shop-test-1.iam.gserviceaccount.com" }
  }
  mock_resource "google_iam_workload_identity_pool" {
    defaults = { name = "projects/123456789012/locations/global/workloadIdentityPools/shop-github" }
  }
}

mock_provider "google-beta" {
  override_during = plan
}

variables {
  project_id  = "shop-test-1"
  environment = "staging"
  admin_email = "admin@example.com"
  image       = "asia-northeast1-docker.pkg.dev/shop-test-1/shop/functions@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
}

run "nobody_deploys_from_outside_unless_asked_for" {
  command = plan

  assert {
    condition = (
      length(google_iam_workload_identity_pool.github) + length(google_service_account.deployer) + length(google_project_iam_member.deployer)
      + length(google_project_iam_member.deployer_grants) + length(google_billing_account_iam_member.deployer_budgets) == 0
      && output.github_variables == null
    )
    error_message = "there is a way in that nobody asked for"
  }
}

run "one_repository_its_main_branch_and_one_environment" {
  command = plan

  variables {
    github_repository = "octocat/shop"
  }

  assert {
    condition     = google_iam_workload_identity_pool_provider.github[0].attribute_condition == "assertion.repository == 'octocat/shop' && assertion.ref == 'refs/heads/main' && assertion.environment == 'staging'"
    error_message = "others can come in"
  }
  assert {
    condition     = google_service_account_iam_member.github_deploys[0].member == "principalSet://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/shop-github/attribute.repository/octocat/shop"
    error_message = "others can pass for the deployer"
  }
  assert {
    condition = (
      length(setintersection(local.deployer_roles, ["roles/owner", "roles/editor", "roles/viewer", "roles/iam.securityAdmin", "roles/resourcemanager.projectIamAdmin"])) == 0
      && length(google_project_iam_member.deployer_grants[0].condition) == 1
      && length(regexall("roles/(owner|editor)|Admin'|\\.admin'", google_project_iam_member.deployer_grants[0].condition[0].expression)) == 0
    )
    error_message = "the deployer could make itself an owner"
  }
}

run "a_budget_can_be_kept_up_by_the_deployer" {
  command = plan

  variables {
    github_repository = "octocat/shop"
    billing_account   = "012345-6789AB-CDEF01"
    monthly_budget    = 100
  }

  assert {
    condition     = google_billing_account_iam_member.deployer_budgets[0].billing_account_id == "012345-6789AB-CDEF01"
    error_message = "a plan by the deployer would fail on the budget"
  }
}

run "an_address_instead_of_a_repository" {
  command = plan

  variables {
    github_repository = "https://github.com/octocat/shop"
  }

  expect_failures = [var.github_repository]
}
