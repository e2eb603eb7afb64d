//! What must hold, each a module named for its promise.

mod a_chart_reaches_every_cluster;
mod a_commit_reaches_every_cluster;
mod a_copied_identity_is_quarantined;
mod a_tenant_sees_his_own;
mod a_tutorial_runs_on_a_lone_agent;
mod at_rest_nothing_is_written;
mod bad_kubeconfigs_are_named;
mod certificates_renew_unnoticed;
mod deletions_wait_for_the_hub;
mod examples_build;
mod joining_says_what_is_wrong;
mod killed_agents_finish_their_releases;
mod leaving_keeps_or_purges;
mod links_may_be_cut;
mod manifests_are_enough;
mod nothing_is_recreated;
mod revoking_cuts;
mod secrets_leave_no_trace;
mod strangers_are_refused;
mod support;
mod tenants_stay_in_their_grant;
mod the_demo_ends_by_itself;
