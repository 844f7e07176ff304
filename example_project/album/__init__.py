"""The photo album: pictures whose thumbnails and contact sheet are made by jobs."""
