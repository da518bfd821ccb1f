"""Multi-task gradient boosting with shared trees."""
