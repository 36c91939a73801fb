//! `walgate init`: looks at the database and writes a config for it.

use std::path::PathBuf;

use super::Global;
use super::failure::{Exit, Failure};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  walgate init --url \"$DATABASE_URL\" --tables public.customers,public.orders
  walgate init --url \"$ADMIN_URL\" --tables public.customers --role walgate --apply")]
pub(super) struct Args {
    /// libpq URL or key=value string of the database
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    url: String,
    /// The tables to send, as SQL would quote them; all with a primary key unless given
    #[arg(long, value_name = "TABLES", value_delimiter = ',')]
    tables: Vec<String>,
    /// Also a role that may do what walgate needs and nothing else
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
    /// Where to write the config; -c's file unless given
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Run the SQL as the role of the URL instead of printing it
    #[arg(long)]
    apply: bool,
}

pub(super) async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let _ = (&args.url, &args.tables, &args.role, &args.output, args.apply, &global.config);
    std::future::ready(Err(Failure::new(Exit::Failed, "init is not built yet"))).await
}
