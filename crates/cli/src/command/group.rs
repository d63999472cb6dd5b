//! `iris group`: making groups, changing them, and who is in them.

use std::time::Duration;

use iris_core::group::{Change, Role, Settings, Who};
use iris_core::id::{AccountId, GroupId};
use iris_core::limits::GROUP_CHANGE_MEMBERS_MAX;
use serde_json::json;

use crate::args::group::{self as args, GroupCommand};
use crate::connect::{Context, Opened};
use crate::failure::Failure;
use crate::groups::{check_name, name_of};
use crate::output::table;

use super::print::Names;
use super::ruling::Rulings;

const PATIENCE: Duration = Duration::from_secs(20);

pub(super) async fn run(context: &mut Context, args: args::Group) -> Result<(), Failure> {
    let mut opened = context.reach(PATIENCE).await?;
    match args.command {
        GroupCommand::Create(args) => create(context, &mut opened, args).await?,
        GroupCommand::Add(args) => change(context, &mut opened, args, Way::In).await?,
        GroupCommand::Remove(args) => change(context, &mut opened, args, Way::Out).await?,
        GroupCommand::Leave(args) => leave(context, &mut opened, &args).await?,
        GroupCommand::Promote(args) => promote(context, &mut opened, &args, Role::Admin).await?,
        GroupCommand::Demote(args) => promote(context, &mut opened, &args, Role::Member).await?,
        GroupCommand::Rename(args) => rename(context, &mut opened, &args).await?,
        GroupCommand::List => list(context, &opened).await?,
        GroupCommand::Members(args) => members(context, &opened, &args).await?,
    }
    opened.close().await
}

/// Into a group, or out of it.
#[derive(Clone, Copy)]
enum Way {
    In,
    Out,
}

async fn create(
    context: &mut Context,
    opened: &mut Opened,
    args: args::Create,
) -> Result<(), Failure> {
    check_name(&args.name)?;
    let members = accounts(opened, &args.members).await?;
    let who = |only_admins| if only_admins { Who::Admins } else { Who::Members };
    let settings = Settings {
        writers: who(args.only_admins_write),
        adders: who(args.only_admins_add),
        info: args.name.clone().into_bytes().into(),
    };
    let (first, rest) = members.split_at(members.len().min(GROUP_CHANGE_MEMBERS_MAX));
    let mut rulings = Rulings::default();
    let handle = opened.client.handle();
    let (group, receipt) = handle.create_group(first.to_vec(), settings).await?;
    rulings.taken(context, opened, receipt, PATIENCE).await?;
    opened.profile.learn_group(group, &args.name)?;
    let steps = rest.chunks(GROUP_CHANGE_MEMBERS_MAX);
    let total = members.len();
    let mut done = first.len();
    for step in steps {
        context.output.note(&format!("{done} of {total} members are in it"));
        take(context, opened, &mut rulings, (group, Change::Add(step.to_vec()))).await?;
        done += step.len();
    }
    let text = format!("{} is {group}, with {} besides you.", args.name, counted(total));
    let value = json!({
        "event": "created", "group": group.to_string(), "name": args.name, "members": total + 1,
    });
    context.output.result(&text, &value)
}

async fn change(
    context: &mut Context,
    opened: &mut Opened,
    args: args::Change,
    way: Way,
) -> Result<(), Failure> {
    let group = opened.group(&args.group).await?;
    let members = accounts(opened, &args.members).await?;
    let mut rulings = Rulings::default();
    let total = members.len();
    let mut done = 0;
    for step in members.chunks(GROUP_CHANGE_MEMBERS_MAX) {
        let change = match way {
            Way::In => Change::Add(step.to_vec()),
            Way::Out => Change::Remove(step.to_vec()),
        };
        take(context, opened, &mut rulings, (group, change)).await?;
        done += step.len();
        if total > GROUP_CHANGE_MEMBERS_MAX {
            context.output.note(&format!("{done} of {total}"));
        }
    }
    let (event, verb) = match way {
        Way::In => ("added", "are in"),
        Way::Out => ("removed", "are not in"),
    };
    let text = format!("{} {verb} {} now.", args.members.join(", "), args.group);
    let value = json!({"event": event, "group": group.to_string(), "members": args.members});
    context.output.result(&text, &value)
}

async fn leave(
    context: &mut Context,
    opened: &mut Opened,
    args: &args::Which,
) -> Result<(), Failure> {
    let group = opened.group(&args.group).await?;
    take(context, opened, &mut Rulings::default(), (group, Change::Leave)).await?;
    let text = format!("You left {}.", args.group);
    context.output.result(&text, &json!({"event": "left", "group": group.to_string()}))
}

async fn promote(
    context: &mut Context,
    opened: &mut Opened,
    args: &args::Who,
    role: Role,
) -> Result<(), Failure> {
    let group = opened.group(&args.group).await?;
    let member = opened.find(&args.member).await?;
    let change = Change::Promote(member, role);
    take(context, opened, &mut Rulings::default(), (group, change)).await?;
    let text = format!("{} is {} of {} now.", args.member, with_article(role), args.group);
    let value = json!({
        "event": "promoted", "group": group.to_string(), "member": args.member, "role": named(role),
    });
    context.output.result(&text, &value)
}

async fn rename(
    context: &mut Context,
    opened: &mut Opened,
    args: &args::Rename,
) -> Result<(), Failure> {
    check_name(&args.name)?;
    let group = opened.group(&args.group).await?;
    // The rest of the settings stays as it is.
    let settings = opened.members(group, None).await?.settings;
    let settings = Settings { info: args.name.clone().into_bytes().into(), ..settings };
    take(context, opened, &mut Rulings::default(), (group, Change::Set(settings))).await?;
    opened.profile.learn_group(group, &args.name)?;
    let text = format!("{} is called {} now.", args.group, args.name);
    let value = json!({"event": "renamed", "group": group.to_string(), "name": args.name});
    context.output.result(&text, &value)
}

async fn list(context: &mut Context, opened: &Opened) -> Result<(), Failure> {
    let groups = opened.groups().await?;
    let value: Vec<_> = groups
        .iter()
        .map(|known| {
            json!({
                "group": known.group.to_string(),
                "name": known.name,
                "since": known.membership.since.0,
                "left_at": known.membership.until.map(|until| until.0),
                "large": known.membership.pulls.is_some(),
            })
        })
        .collect();
    let rows: Vec<_> = groups
        .iter()
        .map(|known| {
            let state = match (known.membership.until, known.membership.pulls) {
                (Some(_), _) => "left",
                (None, Some(_)) => "large",
                (None, None) => "",
            };
            vec![known.name.clone().unwrap_or_default(), known.group.to_string(), state.to_owned()]
        })
        .collect();
    let text = match rows.as_slice() {
        [] => "No groups yet: `iris group create NAME MEMBER...` makes one.".to_owned(),
        rows => table(&["NAME", "GROUP", ""], rows),
    };
    context.output.result(&text, &json!({"groups": value}))
}

async fn members(
    context: &mut Context,
    opened: &Opened,
    args: &args::Which,
) -> Result<(), Failure> {
    let group = opened.group(&args.group).await?;
    let mut page = opened.members(group, None).await?;
    let mut members = page.members.clone();
    while let Some(next) = page.next {
        page = opened.members(group, Some(next)).await?;
        members.append(&mut page.members);
    }
    let names = Names::of(context, opened);
    let name = name_of(&page.settings);
    if let Some(name) = &name {
        opened.profile.learn_group(group, name)?;
    }
    let value: Vec<_> = members
        .iter()
        .map(|(account, member)| {
            json!({
                "account": account.to_string(),
                "name": names.account(*account),
                "role": named(member.role),
                "since": member.since.0,
            })
        })
        .collect();
    let rows: Vec<_> = members
        .iter()
        .map(|(account, member)| {
            let role = if member.role == Role::Admin { "admin" } else { "" };
            vec![names.account(*account), role.to_owned(), account.to_string()]
        })
        .collect();
    let text = format!("{}\n{}", table(&["MEMBER", "", "ACCOUNT"], &rows), counted(rows.len()));
    let value = json!({
        "group": group.to_string(),
        "name": name,
        "version": page.version.0,
        "head": page.head.0,
        "only_admins_write": page.settings.writers == Who::Admins,
        "only_admins_add": page.settings.adders == Who::Admins,
        "members": value,
    });
    context.output.result(&text, &value)
}

/// Asks a group for a change, and waits until it took it.
async fn take(
    context: &mut Context,
    opened: &mut Opened,
    rulings: &mut Rulings,
    (group, change): (GroupId, Change),
) -> Result<(), Failure> {
    let receipt = opened.client.handle().change_group(group, change).await?;
    rulings.taken(context, opened, receipt, PATIENCE).await.map(|_| ())
}

async fn accounts(opened: &Opened, names: &[String]) -> Result<Vec<AccountId>, Failure> {
    let own = opened.client.login_data().account;
    let mut accounts = Vec::with_capacity(names.len());
    for name in names {
        let account = opened.find(name).await?;
        if account != own && !accounts.contains(&account) {
            accounts.push(account);
        }
    }
    Ok(accounts)
}

fn named(role: Role) -> &'static str {
    match role {
        Role::Member => "member",
        Role::Admin => "admin",
    }
}

fn with_article(role: Role) -> &'static str {
    match role {
        Role::Member => "an ordinary member",
        Role::Admin => "an admin",
    }
}

fn counted(members: usize) -> String {
    if members == 1 { "1 member".to_owned() } else { format!("{members} members") }
}
