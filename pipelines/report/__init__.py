"""What became of a corpus and of a model, for people: tables, plots and pages made from report.json files."""
