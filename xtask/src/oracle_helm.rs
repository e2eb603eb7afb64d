//! `cargo xtask oracle helm CHART… -- FLAGS`: renders each chart with the reference and with ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nave_oracle::{Helm, template_here};

/// What the reference adds to the errors of templates.
const HINT: &str = "Use --debug flag to render out invalid YAML";

/// Compares charts; `recursive` takes every directory below that has a `Chart.yaml` and is in no other chart, and `ci`
/// each `ci/*.yaml` of a chart as another rendering. What differs is written into `keep`; lines that the reference
/// itself writes differently each time (passwords, certificates, checksums of them) do not count.
///
/// # Errors
/// The reference cannot be built or run, or a chart renders differently.
pub fn run(charts: &[PathBuf], recursive: bool, ci: bool, keep: Option<&Path>, flags: &[String]) -> Result<()> {
    let mut found = Vec::new();
    for chart in charts {
        let chart = chart
            .canonicalize()
            .with_context(|| format!("finding {}", chart.display()))?;
        match recursive {
            true => collect(&chart, &mut found)?,
            false => found.push(chart),
        }
    }
    found.sort();
    let mut oracle = Helm::start()?;
    let (mut renderings, mut same, mut random, mut same_error, mut both_fail, mut bad) = (0, 0, 0, 0, 0, 0);
    for chart in &found {
        let mut values = vec![None];
        if ci {
            values.extend(ci_values(chart)?.into_iter().map(Some));
        }
        for values in values {
            renderings += 1;
            let mut flags = flags.to_vec();
            let mut title = chart.display().to_string();
            if let Some(values) = &values {
                flags.extend(["-f".to_owned(), values.to_string_lossy().into_owned()]);
                title = values.display().to_string();
            }
            let start = Instant::now();
            let ours = template_here("release-name", chart, &flags);
            let (our_time, start) = (start.elapsed(), Instant::now());
            let theirs_text = theirs(&mut oracle, chart, &flags)?;
            let their_time = start.elapsed();
            if our_time > their_time.max(Duration::from_millis(50)) * 4 {
                println!("slow: {title}: ours {our_time:.1?}, theirs {their_time:.1?}");
            }
            let problem = match (ours, theirs_text) {
                (Ok(ours), Ok(theirs)) if ours == theirs => {
                    same += 1;
                    continue;
                }
                (Err(ours), Err(theirs)) => {
                    let theirs = theirs.trim_end().trim_end_matches(HINT).trim_end();
                    if ours.trim_end() == theirs {
                        same_error += 1;
                        continue;
                    }
                    both_fail += 1;
                    println!("both fail: {title}\n    ours: {ours}\n    theirs: {theirs}");
                    continue;
                }
                (Ok(ours), Ok(first)) => {
                    // Times of the day differ, too, once a second is over.
                    std::thread::sleep(Duration::from_millis(1_100));
                    let again = theirs(&mut oracle, chart, &flags)?;
                    let (ours, theirs) = without_random(&ours, &first, again.as_deref().unwrap_or_default());
                    if ours == theirs {
                        random += 1;
                        continue;
                    }
                    if let Some(keep) = keep {
                        fs::create_dir_all(keep).with_context(|| format!("creating {}", keep.display()))?;
                        for (name, text) in [("ours", &ours), ("theirs", &theirs)] {
                            let path = keep.join(format!("{bad}.{name}.yaml"));
                            fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
                        }
                    }
                    format!("different ({bad})\n{}", first_difference(&ours, &theirs))
                }
                (Ok(_), Err(theirs)) => format!("only theirs fails\n    {theirs}"),
                (Err(ours), Ok(_)) => format!("only ours fails\n    {ours}"),
            };
            bad += 1;
            println!("{title}: {problem}");
        }
    }
    println!(
        "{renderings} renderings of {} charts: {same} pass, {random} pass but for random values, \
         {same_error} fail alike, {both_fail} both fail, {bad} differ",
        found.len()
    );
    ensure!(bad == 0, "some charts render differently");
    Ok(())
}

fn ci_values(chart: &Path) -> Result<Vec<PathBuf>> {
    let folder = chart.join("ci");
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|ending| ending == "yaml" || ending == "yml")
            && path.is_file()
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Records what the reference makes of golden cases: `<case>/chart` with the words in `<case>/flags` gives
/// `<case>/want.yaml` or `<case>/want-error`.
///
/// # Errors
/// The reference cannot be built or run.
pub fn record(cases: &[PathBuf]) -> Result<()> {
    let mut oracle = Helm::start()?;
    for case in cases {
        let flags: Vec<String> = match fs::read_to_string(case.join("flags")) {
            Ok(text) => text
                .lines()
                .map(|line| line.replace("CASE", &case.to_string_lossy()))
                .collect(),
            Err(_) => Vec::new(),
        };
        let (file, other, text) = match theirs(&mut oracle, &case.join("chart"), &flags)? {
            Ok(text) => ("want.yaml", "want-error", text),
            // Ours says these in words of its own, and theirs may be long.
            Err(error)
                if case
                    .file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with("refused")) =>
            {
                ("want-error", "want.yaml", error.chars().take(200).collect())
            }
            Err(error) => ("want-error", "want.yaml", format!("{error}\n")),
        };
        fs::write(case.join(file), text).with_context(|| format!("writing {}", case.display()))?;
        if case.join(other).exists() {
            fs::remove_file(case.join(other)).with_context(|| format!("removing {other}"))?;
        }
        println!("{} {file}", case.display());
    }
    Ok(())
}

fn theirs(oracle: &mut Helm, chart: &Path, flags: &[String]) -> Result<Result<String, String>> {
    let mut words = vec![
        "template".to_owned(),
        "release-name".to_owned(),
        chart.to_string_lossy().into_owned(),
    ];
    words.extend_from_slice(flags);
    if !flags.iter().any(|flag| flag == "-n" || flag == "--namespace") {
        words.extend(["--namespace".to_owned(), "default".to_owned()]);
    }
    oracle.command(&words)
}

/// Our text and the reference's, where each line that differs between two runs of the reference is marked in both.
/// Texts of different length are left as they are, so that they count as a difference.
fn without_random(ours: &str, theirs: &str, again: &str) -> (String, String) {
    let count = theirs.lines().count();
    if again.lines().count() != count || ours.lines().count() != count {
        return (ours.to_owned(), theirs.to_owned());
    }
    let mut texts = (String::new(), String::new());
    for ((ours, theirs), again) in ours.lines().zip(theirs.lines()).zip(again.lines()) {
        let kept = |text| if theirs == again { text } else { "<random>" };
        texts.0 += kept(ours);
        texts.0.push('\n');
        texts.1 += kept(theirs);
        texts.1.push('\n');
    }
    texts
}

fn first_difference(ours: &str, theirs: &str) -> String {
    let (ours, theirs): (Vec<&str>, Vec<&str>) = (ours.lines().collect(), theirs.lines().collect());
    let same = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
    let source = ours[..same].iter().rev().find(|line| line.starts_with("# Source: "));
    let show = |lines: &[&str]| {
        let lines: Vec<String> = lines
            .iter()
            .skip(same)
            .take(6)
            .map(|line| format!("      {line}"))
            .collect();
        lines.join("\n")
    };
    format!(
        "    {} line {}\n    ours:\n{}\n    theirs:\n{}",
        source.copied().unwrap_or_default(),
        same + 1,
        show(&ours),
        show(&theirs)
    )
}

fn collect(dir: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    if dir.join("Chart.yaml").is_file() {
        into.push(dir.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), into)?;
        }
    }
    Ok(())
}
