//! How the demo prints.

use crate::steps::style;

pub(crate) fn heading(text: &str) {
    println!(
        "\n{}",
        style(
            "1;36",
            &format!("── {text} {}", "─".repeat(86_usize.saturating_sub(text.chars().count())))
        )
    );
}

/// A command, and below it what it printed.
pub(crate) fn command(words: &str, output: &str) {
    println!("{}", style("2", &format!("$ {words}")));
    for line in output.trim_end().lines() {
        println!("  {}", line.trim_end());
    }
}

pub(crate) fn prose(text: &str) {
    println!("{text}");
}

/// A bar for each name, the longest for the largest count.
pub(crate) fn bars(rows: &[(String, usize)]) {
    let most = rows.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, count) in rows {
        println!(
            "  {name:<width$}  {} {count}",
            style("34", &"█".repeat((count * 40).div_ceil(most)))
        );
    }
}

/// A table without lines: columns two spaces apart, as kubectl prints them.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([header.get(column).map_or(0, |cell| cell.chars().count())]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &[String]| {
        let cells: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("   ").trim_end().to_owned()
    };
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    println!("  {}", style("2", &line(&header)));
    for row in rows {
        println!("  {}", line(row));
    }
}
