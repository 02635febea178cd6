"""The page in the browser, by Streamlit."""
