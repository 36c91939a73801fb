//! `walgate map`: what a route would send for one row.

use super::Global;
use super::failure::{Exit, Failure};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  walgate map --route customers-to-crm
  walgate map --route customers-to-crm --op delete --row '{\"id\": 42}'
  echo '{\"id\": 42, \"email\": null}' | walgate map --route customers-to-crm --row -")]
pub(super) struct Args {
    /// The route's name
    #[arg(long, value_name = "NAME")]
    route: String,
    /// The row as JSON, - for stdin; a sample of the table unless given
    #[arg(long, value_name = "JSON|-")]
    row: Option<String>,
    /// What is done with the row: insert, update, delete, read
    #[arg(long, value_name = "OP", default_value = "insert", value_parser = ["insert", "update", "delete", "read"])]
    op: String,
}

pub(super) async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let _config = global.load()?;
    let _ = (&args.route, &args.row, &args.op);
    std::future::ready(Err(Failure::new(Exit::Failed, "map is not built yet"))).await
}
