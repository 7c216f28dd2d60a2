"""What a person sees while a publisher runs: lines about requests, and the live view."""
