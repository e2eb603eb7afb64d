//! The root of the command line: global flags and verbs.

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::{connection::ConnectionArguments, later::Later, verbs};

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  an error, printed with ✗ and, where the reader can act, followed by hint: lines
  2  the command line could not be understood
`nave diff` ends with 0 for no difference, 1 for a difference, and more than 1 for an error.

Environment:
  KUBECONFIG                 kubeconfig files, as for kubectl
  FLUX_SYSTEM_NAMESPACE      default of --namespace for Flux objects
  NAVE_WORKSPACE             default of --namespace for fleet objects
  NO_COLOR                   no colour, even on a terminal";

/// GitOps for fleets of Kubernetes clusters.
///
/// One cluster or many: `nave install --agent` makes a cluster reconcile Flux objects; `nave install --hub`,
/// `nave hub token create` and `nave join` make a fleet of several.
#[derive(Debug, Parser)]
#[command(name = "nave", version, after_help = AFTER_HELP, max_term_width = 100, propagate_version = false)]
pub struct CommandLine {
    #[command(flatten)]
    connection: ConnectionArguments,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Install(Later<verbs::install::Arguments>),
    Uninstall(Later<verbs::uninstall::Arguments>),
    Check(Later<verbs::check::Arguments>),
    Doctor(Later<verbs::doctor::Arguments>),
    Hub(Later<verbs::hub::Arguments>),
    Join(Later<verbs::join::Arguments>),
    Leave(Later<verbs::leave::Arguments>),
    Forget(Later<verbs::forget::Arguments>),
    Approve(Later<verbs::approve::Arguments>),
    Quarantine(Later<verbs::quarantine::Arguments>),
    Release(Later<verbs::release::Arguments>),
    Get(Later<verbs::get::Arguments>),
    Describe(Later<verbs::describe::Arguments>),
    Reconcile(Later<verbs::reconcile::Arguments>),
    Create(Later<verbs::create::Arguments>),
    Delete(Later<verbs::delete::Arguments>),
    Export(Later<verbs::export::Arguments>),
    Tree(Later<verbs::tree::Arguments>),
    Trace(Later<verbs::trace::Arguments>),
    Stats(Later<verbs::stats::Arguments>),
    Logs(Later<verbs::logs::Arguments>),
    Suspend(Later<verbs::suspend::Arguments>),
    Resume(Later<verbs::resume::Arguments>),
    Events(Later<verbs::events::Arguments>),
    Debug(Later<verbs::debug::Arguments>),
    Build(Later<verbs::build::Arguments>),
    Diff(Later<verbs::diff::Arguments>),
    Decrypt(Later<verbs::decrypt::Arguments>),
    Envsubst(Later<verbs::envsubst::Arguments>),
    Template(Later<Box<verbs::template::Arguments>>),
    Push(Later<verbs::push::Arguments>),
    Pull(Later<verbs::pull::Arguments>),
    Tag(Later<verbs::tag::Arguments>),
    List(Later<verbs::list::Arguments>),
    Version(Later<verbs::version::Arguments>),
    Completion(Later<verbs::completion::Arguments>),
    Docgen(Later<verbs::docgen::Arguments>),
}

impl CommandLine {
    /// Does what was typed.
    ///
    /// # Errors
    /// Whatever kept the command from being done; [`crate::failure::Quiet`] when all was said already.
    pub async fn run(self) -> Result<()> {
        let connection = self.connection;
        connection.check()?;
        match self.verb {
            Verb::Install(Later(arguments)) => Box::pin(verbs::install::run(arguments, &connection)).await,
            Verb::Uninstall(Later(arguments)) => Box::pin(verbs::uninstall::run(arguments, &connection)).await,
            Verb::Check(Later(arguments)) => Box::pin(verbs::check::run(arguments, &connection)).await,
            Verb::Doctor(Later(arguments)) => Box::pin(verbs::doctor::run(arguments, &connection)).await,
            Verb::Hub(Later(arguments)) => Box::pin(verbs::hub::run(arguments, &connection)).await,
            Verb::Join(Later(arguments)) => Box::pin(verbs::join::run(arguments, &connection)).await,
            Verb::Leave(Later(arguments)) => Box::pin(verbs::leave::run(arguments, &connection)).await,
            Verb::Forget(Later(arguments)) => Box::pin(verbs::forget::run(arguments, &connection)).await,
            Verb::Approve(Later(arguments)) => Box::pin(verbs::approve::run(arguments, &connection)).await,
            Verb::Quarantine(Later(arguments)) => Box::pin(verbs::quarantine::run(arguments, &connection)).await,
            Verb::Release(Later(arguments)) => Box::pin(verbs::release::run(arguments, &connection)).await,
            Verb::Get(Later(arguments)) => Box::pin(verbs::get::run(arguments, &connection)).await,
            Verb::Describe(Later(arguments)) => Box::pin(verbs::describe::run(arguments, &connection)).await,
            Verb::Reconcile(Later(arguments)) => Box::pin(verbs::reconcile::run(arguments, &connection)).await,
            Verb::Create(Later(arguments)) => Box::pin(verbs::create::run(arguments, &connection)).await,
            Verb::Delete(Later(arguments)) => Box::pin(verbs::delete::run(arguments, &connection)).await,
            Verb::Export(Later(arguments)) => Box::pin(verbs::export::run(arguments, &connection)).await,
            Verb::Tree(Later(arguments)) => Box::pin(verbs::tree::run(arguments, &connection)).await,
            Verb::Trace(Later(arguments)) => Box::pin(verbs::trace::run(arguments, &connection)).await,
            Verb::Stats(Later(arguments)) => Box::pin(verbs::stats::run(arguments, &connection)).await,
            Verb::Logs(Later(arguments)) => Box::pin(verbs::logs::run(arguments, &connection)).await,
            Verb::Suspend(Later(arguments)) => Box::pin(verbs::suspend::run(arguments, &connection)).await,
            Verb::Resume(Later(arguments)) => Box::pin(verbs::resume::run(arguments, &connection)).await,
            Verb::Events(Later(arguments)) => Box::pin(verbs::events::run(arguments, &connection)).await,
            Verb::Debug(Later(arguments)) => Box::pin(verbs::debug::run(arguments, &connection)).await,
            Verb::Build(Later(arguments)) => Box::pin(verbs::build::run(arguments, &connection)).await,
            Verb::Diff(Later(arguments)) => Box::pin(verbs::diff::run(arguments, &connection)).await,
            Verb::Decrypt(Later(arguments)) => Box::pin(verbs::decrypt::run(arguments)).await,
            Verb::Envsubst(Later(arguments)) => verbs::envsubst::run(&arguments),
            Verb::Template(Later(arguments)) => Box::pin(verbs::template::run(*arguments, &connection)).await,
            Verb::Push(Later(arguments)) => Box::pin(verbs::push::run(arguments)).await,
            Verb::Pull(Later(arguments)) => Box::pin(verbs::pull::run(arguments)).await,
            Verb::Tag(Later(arguments)) => Box::pin(verbs::tag::run(arguments)).await,
            Verb::List(Later(arguments)) => Box::pin(verbs::list::run(arguments)).await,
            Verb::Version(Later(arguments)) => Box::pin(verbs::version::run(arguments, &connection)).await,
            Verb::Completion(Later(arguments)) => verbs::completion::run(&arguments),
            Verb::Docgen(Later(arguments)) => verbs::docgen::run(&arguments),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::{ArgAction, Command, CommandFactory, error::ErrorKind};
    use nave_runtime::flags;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        CommandLine::command().debug_assert();
    }

    fn check(line: &str) {
        let words = line.split_whitespace().map(OsString::from);
        if let Err(error) = CommandLine::try_parse_from(flags::plain(&CommandLine::command(), words)) {
            panic!("{line}: {error}");
        }
    }

    fn check_refused(line: &str, kind: ErrorKind) {
        let error = CommandLine::try_parse_from(line.split_whitespace()).expect_err(line);
        assert_eq!(error.kind(), kind, "{line}: {error}");
        assert_eq!(error.exit_code(), 2, "{line}");
    }

    #[test]
    fn lines_that_people_type_are_understood() {
        for line in [
            "nave install --agent",
            "nave install --hub --export --image registry.example/hub:1 -n hub",
            "nave install --hub --advertise hub.example.com:9443",
            "nave uninstall --agent --keep-crds -s",
            "nave check --pre",
            "nave doctor --token nave1.x",
            "nave doctor --hub-namespace hub --agent-namespace agent",
            "nave hub token create eu-1 --cluster eu-1 --label env=prod --variable overlay=eu --ttl 30m -n platform",
            "nave hub token create many --name-prefix edge- --uses 100 --address a:1 --address b:2",
            "nave hub token create eu-1 --access platform=admin --access team-a=team-a/team-a",
            "nave hub token list -A",
            "nave hub token revoke eu-1",
            "nave --context spoke join --token nave1.abc --name eu-1",
            "nave join --token nave1.abc --print-config -",
            "nave leave --keep",
            "nave leave --purge --yes",
            "nave forget eu-1 -n platform --yes",
            "nave approve eu-1 -n platform",
            "nave approve eu-1 --key sha256:ab --replace",
            "nave release eu-1 --ttl 10m --any-cluster --yes",
            "nave hub ca rotate --yes",
            "nave hub confirm --yes",
            "nave hub backup --out hub.json",
            "nave hub restore hub.json --overwrite --yes",
            "nave get clusters -o wide",
            "nave get fleet --watch",
            "nave get all -A",
            "nave get ks apps -n team -o json",
            "nave get kustomizations --status-selector ready=false --no-header",
            "nave get sources git -l app=x",
            "nave get source external",
            "nave get sources bucket -A -o wide",
            "nave reconcile source bucket artifacts",
            "nave describe cluster eu-1",
            "nave describe fleet apps -n platform",
            "nave reconcile ks apps --with-source",
            "nave reconcile fleet apps --timeout 30s",
            "nave reconcile source git flux-system",
            "nave suspend cluster eu-1",
            "nave suspend ks a b",
            "nave resume source git --all --wait",
            "nave create source git app --url https://host/app --branch main --export",
            "nave create source git app --url ssh://git@host/app --tag-semver 1.x --interval 10m --label a=b -s",
            "nave create secret git app --url https://host/app -u me -p secret --export",
            "nave create secret githubapp app --app-id 1 --app-installation-id 2 --app-private-key key.pem",
            "nave create secret proxy p --address http://proxy:3128",
            "nave export source git app --with-credentials",
            "nave export source oci --all",
            "nave delete source git app -s",
            "nave events --for Kustomization/apps --types Warning,Normal -A",
            "nave build kustomization ./apps --kustomization-file ks.yaml --dry-run",
            "nave build ks ./apps",
            "nave build kustomization",
            "nave build kustomization ./apps -o out.yaml --load-restrictor LoadRestrictionsNone --enable-helm",
            "nave build ks apps --path ./apps --strict-substitute --ignore-paths a,b --ignore-paths c",
            "nave build ks apps --path ./apps -r --local-sources GitRepository/flux-system/apps=./apps,OCIRepository/a/b=./b",
            "nave build ks apps --path ./apps --in-memory-build",
            "nave diff ks apps --path ./apps --in-memory-build=true",
            "nave debug kustomization apps --show-vars",
            "nave debug ks apps -n team --show-status",
            "nave debug ks apps --show-history=true",
            "nave diff ks apps --path ./apps --progress-bar=false",
            "nave diff kustomization apps --path ./apps --kustomization-file ks.yaml --ignore-not-found",
            "nave decrypt secret.yaml --age-key keys.txt --age-key other.txt --pgp-key key.asc",
            "nave decrypt - --format dotenv --output-format json --ignore-mac",
            "nave envsubst --strict",
            "nave create kustomization apps --source flux-system --path ./apps --prune=true --wait --interval 10m --label a=b,c=d",
            "nave create ks apps --source OCIRepository/apps.team --depends-on a,b/c --health-check Deployment/a.b --export",
            "nave delete ks apps -s",
            "nave export kustomization --all",
            "nave tree ks flux-system --compact -o json",
            "nave trace deployment web -n apps",
            "nave trace web --kind Deployment --api-version apps/v1",
            "nave stats -A",
            "nave get ks --kube-api-qps=20 --kube-api-burst 100",
            "nave logs -A --level error --kind Kustomization --name apps --since 10m --tail -1 -f",
            "nave version --client=true -o json",
            "nave uninstall --agent --silent=true --dry-run=false",
            "nave resume ks a --wait=false",
            "nave build ks apps --path . --strict-substitute=true",
            "nave completion zsh",
        ] {
            check(line);
        }
    }

    /// pflag, which `flux` reads its line with, takes a truth value behind every flag.
    #[test]
    fn every_flag_takes_a_truth_value() {
        fn check_all(root: &Command, command: &Command, line: &str) -> usize {
            let line = format!("{line} {}", command.get_name());
            let mut count = 0;
            for flag in command.get_arguments() {
                let Some(name) = flag
                    .get_long()
                    .filter(|_| matches!(flag.get_action(), ArgAction::SetTrue))
                else {
                    continue;
                };
                let words = |text: String| -> Vec<OsString> { text.split_whitespace().map(OsString::from).collect() };
                let named = words(format!("{line} --{name}"));
                for value in ["true", "True", "1"] {
                    assert_eq!(flags::plain(root, words(format!("{line} --{name}={value}"))), named);
                }
                assert_eq!(
                    flags::plain(root, words(format!("{line} --{name} --{name}=false"))),
                    words(line.clone())
                );
                count += 1;
            }
            count
                + command
                    .get_subcommands()
                    .map(|next| check_all(root, next, &line))
                    .sum::<usize>()
        }
        let root = CommandLine::command();
        assert!(check_all(&root, &root, "") > 100);
    }

    #[test]
    fn lines_that_make_no_sense_are_refused() {
        check_refused("nave install", ErrorKind::MissingRequiredArgument);
        check_refused("nave install --agent --hub", ErrorKind::ArgumentConflict);
        check_refused("nave leave", ErrorKind::MissingRequiredArgument);
        check_refused("nave leave --keep --purge", ErrorKind::ArgumentConflict);
        check_refused("nave join", ErrorKind::MissingRequiredArgument);
        check_refused("nave hub token create x --label a", ErrorKind::ValueValidation);
        check_refused("nave hub token create x --ttl 5", ErrorKind::ValueValidation);
        check_refused("nave hub token create x --uses 0", ErrorKind::ValueValidation);
        check_refused(
            "nave hub token create x --cluster a --name-prefix b",
            ErrorKind::ArgumentConflict,
        );
        check_refused("nave hub token create x --access team-a", ErrorKind::ValueValidation);
        check_refused("nave hub backup", ErrorKind::MissingRequiredArgument);
        check_refused("nave approve eu-1 --replace", ErrorKind::MissingRequiredArgument);
        check_refused("nave get clusters -o xml", ErrorKind::InvalidValue);
        check_refused("nave get ks --status-selector ready", ErrorKind::ValueValidation);
        check_refused("nave create ks apps", ErrorKind::MissingRequiredArgument);
        check_refused(
            "nave create ks apps --source HelmRepository/a",
            ErrorKind::ValueValidation,
        );
        check_refused("nave export ks", ErrorKind::MissingRequiredArgument);
        check_refused("nave trace web --kind Pod", ErrorKind::MissingRequiredArgument);
        check_refused("nave create source git app", ErrorKind::MissingRequiredArgument);
        check_refused(
            "nave create source git app --url a --provider gitlab",
            ErrorKind::InvalidValue,
        );
        check_refused("nave export source git", ErrorKind::MissingRequiredArgument);
        check_refused("nave delete source git", ErrorKind::MissingRequiredArgument);
        check_refused("nave debug ks apps", ErrorKind::MissingRequiredArgument);
        check_refused(
            "nave debug ks apps --show-vars --show-status",
            ErrorKind::ArgumentConflict,
        );
        check_refused("nave suspend ks", ErrorKind::MissingRequiredArgument);
        check_refused("nave suspend ks a --all", ErrorKind::ArgumentConflict);
        check_refused("nave diff ks apps", ErrorKind::MissingRequiredArgument);
        check_refused("nave diff ks --path ./apps", ErrorKind::MissingRequiredArgument);
        check_refused(
            "nave diff ks a --path . --ignore-not-found",
            ErrorKind::MissingRequiredArgument,
        );
        check_refused("nave build ks ./a --dry-run", ErrorKind::MissingRequiredArgument);
        check_refused("nave build ks a --path . --enable-helm", ErrorKind::ArgumentConflict);
        check_refused("nave build ks a --path . --local-sources x", ErrorKind::ValueValidation);
        check_refused("nave build ks . --load-restrictor none", ErrorKind::InvalidValue);
        check_refused("nave decrypt", ErrorKind::MissingRequiredArgument);
        check_refused("nave decrypt a --format toml", ErrorKind::InvalidValue);
        check_refused("nave envsubst file", ErrorKind::UnknownArgument);
        check_refused("nave completion tcsh", ErrorKind::InvalidValue);
        check_refused("nave --timeout 5 check", ErrorKind::ValueValidation);
        check_refused("nave frobnicate", ErrorKind::InvalidSubcommand);
    }
}
