"""What a replay tells an analyst: statistics, money, plots and one offline page."""
