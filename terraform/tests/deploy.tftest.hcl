# What deploying needs: the parts that are applied before the whole, the smoke job, and the way in from GitHub.

mock_provider "google" {
  override_during = plan

  mock_data "google_project" {
    defaults = { number = "123456789012" }
  }
  mock_resource "google_service_account" {
    defaults = { email = "somebody@shop-test-1.iam.gserviceaccount.com", id = "projects/shop-test-1/serviceAccounts/somebody@shop-test-1.iam.gserviceaccount.com" }
  }
  mock_resource "google_iam_workload_identity_pool" {
    defaults = { name = "projects/123456789012/locations/global/workloadIdentityPools/shop-github" }
  }
  mock_resource "google_sql_database_instance" {
    defaults = { private_ip_address = "10.20.0.3" }
  }
}

mock_provider "google-beta" {
  override_during = plan
}

variables {
  project_id  = "shop-test-1"
  environment = "staging"
  admin_email = "admin@example.com"
}

run "what_the_build_needs_can_be_applied_without_an_image" {
  command = plan

  plan_options {
    target = [
      google_artifact_registry_repository_iam_member.build_pushes,
      google_storage_bucket_iam_member.build_reads_and_logs,
    ]
  }

  assert {
    condition = (
      output.artifact_registry == "asia-northeast1-docker.pkg.dev/shop-test-1/shop"
      && output.builds_bucket == "shop-test-1-shop-builds"
      && split("/", output.build_service_account)[1] == "shop-test-1"
    )
    error_message = "scripts/deploy doesn't find where and as whom to build"
  }
}

run "what_migrates_can_be_applied_before_any_function" {
  command = plan

  variables {
    image = "asia-northeast1-docker.pkg.dev/shop-test-1/shop/functions@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  }

  plan_options {
    target = [google_cloud_run_v2_job.migrate]
  }

  assert {
    condition     = google_cloud_run_v2_job.migrate.template[0].template[0].containers[0].image == var.image
    error_message = "it would migrate with other code than what comes after it"
  }
}

run "only_the_smoke_job_signs_as_an_admin_and_nobody_deploys_from_outside" {
  command = plan

  variables {
    image = "asia-northeast1-docker.pkg.dev/shop-test-1/shop/functions@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  }

  assert {
    condition = (
      length(google_iam_workload_identity_pool.github) + length(google_service_account.deployer) + length(google_project_iam_member.deployer)
      + length(google_project_iam_member.deployer_grants) + length(google_billing_account_iam_member.deployer_budgets) == 0
      && output.github_variables == null
    )
    error_message = "there is access from GitHub although no repository is set"
  }

  assert {
    condition = (
      google_cloud_run_v2_job.smoke.name == "shop-smoke"
      && google_cloud_run_v2_job.smoke.template[0].template[0].max_retries == 0
      && google_service_account_iam_member.smoke_signs.service_account_id == google_service_account.smoke.name
      && google_service_account_iam_member.smoke_signs.member == "serviceAccount:${google_service_account.smoke.email}"
    )
    error_message = "another account could sign as an admin"
  }
}

run "one_repository_its_main_branch_and_one_environment" {
  command = plan

  variables {
    github_repository    = "octocat/shop"
    github_repository_id = "1296269"
    billing_account      = "012345-6789AB-CDEF01"
    monthly_budget       = 100
    image                = "asia-northeast1-docker.pkg.dev/shop-test-1/shop/functions@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  }

  assert {
    condition     = google_iam_workload_identity_pool_provider.github[0].attribute_condition == "assertion.repository == 'octocat/shop' && assertion.repository_id == '1296269' && assertion.ref == 'refs/heads/main' && assertion.environment == 'staging'"
    error_message = "others can come in"
  }
  assert {
    condition     = google_service_account_iam_member.github_deploys[0].member == "principalSet://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/shop-github/attribute.repository_id/1296269"
    error_message = "others can pass for the deployer, for example under the name of a deleted repository"
  }
  assert {
    condition = (
      length(setintersection(local.deployer_roles, ["roles/owner", "roles/editor", "roles/viewer", "roles/iam.securityAdmin", "roles/resourcemanager.projectIamAdmin"])) == 0
      && length(google_project_iam_member.deployer_grants[0].condition) == 1
      && length(regexall("roles/(owner|editor)|Admin'|\\.admin'", google_project_iam_member.deployer_grants[0].condition[0].expression)) == 0
    )
    error_message = "the deployer could make itself an owner"
  }
  assert {
    condition     = google_billing_account_iam_member.deployer_budgets[0].billing_account_id == "012345-6789AB-CDEF01"
    error_message = "a plan by the deployer would fail on the budget"
  }
}

run "a_repository_without_its_number" {
  plan_options {
    target = [google_iam_workload_identity_pool_provider.github] # what uses the variables, since a whole plan takes seconds
  }
  command = plan

  variables {
    image             = "asia-northeast1-docker.pkg.dev/shop-test-1/shop/functions@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    github_repository = "octocat/shop"
  }

  expect_failures = [var.github_repository_id]
}

run "an_address_instead_of_a_repository" {
  plan_options {
    target = [google_iam_workload_identity_pool_provider.github] # what uses the variables, since a whole plan takes seconds
  }
  command = plan

  variables {
    github_repository    = "https://github.com/octocat/shop"
    github_repository_id = "1296269"
  }

  expect_failures = [var.github_repository]
}

run "a_name_instead_of_a_number" {
  plan_options {
    target = [google_iam_workload_identity_pool_provider.github] # what uses the variables, since a whole plan takes seconds
  }
  command = plan

  variables {
    github_repository    = "octocat/shop"
    github_repository_id = "octocat/shop"
  }

  expect_failures = [var.github_repository_id]
}
