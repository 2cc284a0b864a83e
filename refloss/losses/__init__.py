"""What each loss is: its working formulas, its domain, and the public function."""
