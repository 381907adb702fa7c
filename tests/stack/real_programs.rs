//! Programs that others wrote, unmodified: static and dynamic, with threads, garbage collection, databases. Their output is that of a
//! native run of the same file. Their full sizes are larger than guest RAM.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::command::{Ended, bifold, run, run_with_input};
use crate::support::full;
use crate::support::guests::{compile_go, compile_rust, python, tool};

/// A native run in a folder, with only the variables that the guest has, too.
fn native(folder: &Path, program: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).env_clear().env("LC_ALL", "C").stdin(Stdio::null());
    run(&mut command).succeeded().out
}

fn inside(folder: &Path, options: &[&str], program: &Path, arguments: &[&str]) -> Ended {
    let mut command = bifold(["run", "--env=LC_ALL=C"].iter().chain(options));
    run(command.current_dir(folder).arg("--").arg(program).args(arguments)).succeeded()
}

#[test]
fn dynamic_programs_find_their_libraries() {
    let folder = tempfile::tempdir().unwrap();
    let lines = if full() { 150_000u64 } else { 3_000 };
    let mut text = String::new();
    for n in 0..lines {
        writeln!(text, "line {:08} of the file that is sorted, {n}", n * 7919 % lines).unwrap();
    }
    fs::create_dir_all(folder.path().join("in/some/where")).unwrap();
    fs::write(folder.path().join("in/lines"), text).unwrap();
    fs::write(folder.path().join("in/some/where/else"), "nothing").unwrap();
    for (name, arguments) in
        [("ls", &["-R", "-p", "in"][..]), ("sort", &["-r", "in/lines"]), ("sort", &["-k2", "-u", "in/lines"])]
    {
        let program = tool(name, "coreutils");
        let guest = inside(folder.path(), &["--ram=8M", "--swap=64M", "--dir=in"], &program, arguments);
        assert!(
            guest.out == native(folder.path(), &program, arguments),
            "{name} {arguments:?}: {}",
            guest.err
        );
    }
}

#[test]
fn python_sorts_a_big_list() {
    let (count, ram) = if full() { ("600000", "--ram=32M") } else { ("20000", "--ram=32M") };
    let script = "import sys\nn = int(sys.argv[1])\nl = [(i * 7919) % 1000003 for i in range(n)]\nl.sort()\n\
                  d = {str(x): x for x in l[::7]}\nprint(sum(l), l[:5], len(d), sum(d.values()))";
    let (program, home) = python();
    let arguments = ["-S", "-c", script, count];
    let mut command = Command::new(&program);
    command.args(arguments).env_clear().env("PYTHONHOME", &home).env("PYTHONDONTWRITEBYTECODE", "1");
    let native = run(&mut command).succeeded().out;
    let folder = format!("--dir={}:/python:ro", home.display());
    let options =
        [ram, "--swap=256M", "--env=PYTHONHOME=/python", "--env=PYTHONDONTWRITEBYTECODE=1", &folder];
    assert_eq!(inside(&home, &options, &program, &arguments).out, native);
}

#[test]
fn a_database_is_built_and_queried() {
    let rows = if full() { 150_000 } else { 2_000 };
    let script = format!(
        "create table t(id integer primary key, k integer, v text);\n\
         with recursive c(x) as (select 1 union all select x + 1 from c where x < {rows})\n\
         insert into t select x, (x * 7919) % 100003, 'value ' || x || ' and some more of it' from c;\n\
         create index i on t(k);\n\
         update t set v = upper(v) where k % 3 = 0;\n\
         delete from t where k % 5 = 0;\n\
         select count(*), sum(k), min(v), max(v) from t where k between 1000 and 50000;\n\
         pragma integrity_check;\n"
    );
    let program = tool("sqlite3", "sqlite3");
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(&program);
    let native =
        run_with_input(command.arg("native").current_dir(folder.path()), script.as_bytes()).succeeded();
    let options = ["run", "--ram=8M", "--swap=64M", "--file=guest:create=64M", "--"];
    let mut command = bifold(options);
    command.arg(&program).arg("/guest").current_dir(folder.path());
    let guest = run_with_input(&mut command, script.as_bytes()).succeeded();
    assert_eq!(guest.out, native.out);
    let [guest, native] = ["guest", "native"].map(|name| fs::read(folder.path().join(name)).unwrap());
    assert_eq!(guest.len(), native.len(), "the file on the host has its right length");
    assert!(guest == native, "the same database, byte for byte");
}

#[test]
fn a_go_program_collects_its_garbage() {
    let program = compile_go("garbage.go");
    let (ram, mib, limit) = if full() { ("--ram=32M", "32", "24MiB") } else { ("--ram=16M", "6", "12MiB") };
    let native = native(Path::new("/"), &program, &[mib]);
    for limit in [None, Some(format!("--env=GOMEMLIMIT={limit}"))] {
        let options: Vec<_> = [ram, "--swap=256M"].into_iter().chain(limit.as_deref()).collect();
        let guest = inside(Path::new("/"), &options, &program, &[mib]);
        assert_eq!(guest.out, native);
        assert!(guest.err.contains("major faults "), "it reports its own faults: {}", guest.err);
    }
}

#[test]
fn a_threaded_rust_program_shares_its_work() {
    let program = compile_rust("threads.rs");
    let count = if full() { "400000" } else { "20000" };
    let native = native(Path::new("/"), &program, &[count]);
    let guest = inside(Path::new("/"), &["--ram=4M", "--swap=64M"], &program, &[count]);
    assert_eq!(guest.out, native);
}
